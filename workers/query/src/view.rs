//! What is special about one saga on the read side, as data.

use quadrille_projection::ReadModel;

/// How the sagas of one flow are looked at.
#[derive(Debug)]
pub struct View {
    /// What they are called: `orders`. The first segment of their paths, the first token of the
    /// subjects of the micro service, and the name of the list in an answer.
    pub many: &'static str,
    /// Must have the tables of [`sagas`](quadrille_projection::sagas).
    pub model: ReadModel,
    /// By what lists are filtered, besides what every saga has: tags of the read model.
    pub filters: &'static [Filter],
    /// Whether there is a stock to show, which its own worker answers for.
    pub stock: bool,
    /// What people may ask of the worker that takes commands, whose micro service has the name
    /// [`View::many`], too; empty where there is none.
    pub verbs: &'static [Verb],
}

/// One command: an endpoint of that micro service.
#[derive(Debug)]
pub struct Verb {
    /// `place`, the last token of its subject.
    pub name: &'static str,
    pub about: &'static str,
    /// For what is asked about one saga: the field of the payload that carries its id.
    pub of_one: Option<&'static str>,
    /// A payload to begin with.
    pub sample: &'static str,
}

/// One filter: a tag of the read model.
#[derive(Debug)]
pub struct Filter {
    pub name: &'static str,
    pub about: &'static str,
    pub example: &'static str,
    /// The value as the read model has it; `None` for one that no saga can have. `|text|
    /// Some(text.to_owned())` where any text may be one.
    pub reads: fn(&str) -> Option<String>,
}
