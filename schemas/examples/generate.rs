//! Writes every committed file that is derived from the types.

use std::fs;
use std::io::{ErrorKind, Result};
use std::path::Path;

use schemas::generated::{schemas, with_flows};

fn main() -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    match fs::remove_dir_all(here.join("json")) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    for file in schemas() {
        let path = here.join(file.path);
        fs::create_dir_all(path.parent().expect("a file is in a folder"))?;
        fs::write(path, file.content)?;
    }
    let readme = here.join("../README.md");
    let text = match fs::read_to_string(&readme) {
        Err(error) if error.kind() == ErrorKind::NotFound => "# Quadrille\n\n".to_owned(),
        read => read?,
    };
    fs::write(&readme, with_flows(&text))
}
