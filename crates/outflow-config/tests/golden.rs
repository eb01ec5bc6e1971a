//! Every file of `tests/golden` against the text that is printed for it, to the letter.

mod common;

use std::fs;
use std::path::Path;

use common::{load, shown};

/// Set to write the expected texts anew; read the difference before it is committed.
const BLESS: &str = "OUTFLOW_TEST_BLESS";

#[test]
fn all_files_print_what_is_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(files.len() > 20);
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let loaded = load(&text, &[]);
        let printed = shown(&loaded);
        assert!(!printed.contains("canary"), "{}: a secret shows:\n{printed}", file.display());
        let json: String = loaded.diagnostics.iter().map(|d| d.to_json().to_string()).collect();
        assert!(!json.contains("canary"), "{}: a secret shows:\n{json}", file.display());
        assert!(!format!("{loaded:?}").contains("canary"), "{}: a secret shows in Debug", file.display());
        let expected = file.with_extension("txt");
        if std::env::var_os(BLESS).is_some() {
            fs::write(&expected, &printed).unwrap();
        } else if fs::read_to_string(&expected).ok().as_deref() != Some(printed.as_str()) {
            wrong.push(format!("{}\n{printed}", expected.display()));
        }
    }
    assert!(wrong.is_empty(), "other output than expected:\n{}", wrong.join("\n"));
}
