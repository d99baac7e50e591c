//! The key that the replicas agree over, and what a write of it leads to.

use super::*;

impl Simulation {
    pub(super) fn effects(&mut self, replica: usize) {
        let effects = self.seats[replica].replica.take_effects();
        for effect in effects {
            match effect {
                Effect::Write { expected, entry } => self.write(replica, expected, entry),
                Effect::PauseServer(_) | Effect::ResumeServer => {}
                Effect::Log(News::Doubting(_)) => self.counts.doubts += 1,
                Effect::Log(News::LocalSuspect) => self.counts.sick += 1,
                Effect::Log(_) => {}
            }
        }
    }

    fn write(&mut self, replica: usize, expected: u64, entry: Entry) {
        self.counts.writes += 1;
        if !self.key_is_readable || self.key.1 != expected {
            return;
        }
        let was = self.key.0.phase;
        self.key = (entry.clone(), expected + 1);
        self.log.push((self.now, entry.phase, format!("{} {:?}", entry.by, entry.reason)));
        match entry.phase {
            Phase::Paused => {
                self.counts.pauses += 1;
                self.paused_since.get_or_insert(self.now);
            }
            Phase::Flowing => {
                if let Some(since) = self.paused_since.take() {
                    self.counts.paused += self.now - since;
                }
            }
            Phase::Probing => self.counts.probings += 1,
            Phase::Suspected => {}
        }
        assert!(
            entry.phase != Phase::Paused || matches!(was, Phase::Suspected | Phase::Probing),
            "paused out of nothing"
        );
        for other in 0..self.seats.len() {
            let wait = Duration::from_micros(self.rng.u64(1000..5000));
            let entry = entry.clone();
            self.at(wait, Event::See { replica: other, entry, revision: expected + 1 });
        }
        if let Some((phase, all)) = self.kill_on
            && phase == entry.phase
        {
            self.kill_on = None;
            let killed = if all { 0..self.seats.len() } else { replica..replica + 1 };
            for replica in killed {
                self.at(Duration::from_micros(5100), Event::Kill(replica));
            }
        }
    }
}
