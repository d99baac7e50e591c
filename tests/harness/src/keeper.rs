//! Ends what this process has started, however this process ends.
//!
//! No destructor runs when a process is killed, nor for a static that several tests share. So all
//! children are one process group, and a shell outside it kills that group, and removes what is
//! left of our folders, once its standard input closes, which the operating system does for us.
//! Linux could kill a child with its parent, but for it the parent is the thread that started it.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};

/// `$1` is the group. A line `+FOLDER` adds to the list of folders, `-FOLDER` takes away.
const KEEP: &str = r#"
    set -f
    IFS='
'
    folders=
    while read -r line; do
        rest=
        for folder in $folders; do [ "$folder" = "${line#?}" ] || rest=$rest$folder$IFS; done
        case $line in +*) rest=$rest${line#?}$IFS ;; esac
        folders=$rest
    done
    kill -s KILL -- "-$1"
    rm -rf $folders
"#;

static KEEPER: LazyLock<Keeper> = LazyLock::new(|| {
    let leader = shell(&["-c", "read -r end"]);
    let shell = shell(&["-c", KEEP, "sh", &leader.id().to_string()]);
    Keeper { leader, shell: Mutex::new(shell) }
});

struct Keeper {
    /// Does nothing: a group exists for as long as it has a member.
    leader: Child,
    shell: Mutex<Child>,
}

/// In a group of its own, so that a signal to the group of this process does not reach it.
fn shell(arguments: &[&str]) -> Child {
    let mut command = Command::new("sh");
    command.args(arguments).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("every machine that runs tests has a shell")
}

/// The process group of all that is to end with this process.
pub(crate) fn group() -> i32 {
    KEEPER.leader.id().cast_signed()
}

/// From now on, this folder is removed when this process ends.
pub(crate) fn keep(folder: &str) {
    tell('+', folder);
}

/// This folder is removed already, or is meant to stay.
pub(crate) fn forget(folder: &str) {
    tell('-', folder);
}

fn tell(sign: char, folder: &str) {
    let mut shell = KEEPER.shell.lock().expect("nothing panics under this lock");
    let input = shell.stdin.as_mut().expect("it is piped");
    // One write for each line. A shell that has ended removes nothing; that is no reason to fail.
    let _ = input.write_all(format!("{sign}{folder}\n").as_bytes());
}
