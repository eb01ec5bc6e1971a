//! Pipeline files, as an operator writes them.

use std::fs;
use std::path::{Path, PathBuf};

/// A pipeline from a polled outbox table to a file.
#[derive(Clone, Debug)]
pub struct PipelineFile {
    name: String,
    url: String,
    table: String,
    delivered: &'static str,
    transforms: Vec<String>,
    output: PathBuf,
    rest: String,
}

impl PipelineFile {
    /// Follows the table `outbox` of a database without touching it, gives its rows as they are, and appends them to
    /// the file `<name>.jsonl` in `folder`.
    pub fn new(name: &str, url: &str, folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            table: "outbox".to_owned(),
            delivered: "keep",
            transforms: Vec::new(),
            output: folder.join(format!("{name}.jsonl")),
            rest: String::new(),
        }
    }

    /// Another table.
    #[must_use]
    pub fn table(mut self, table: &str) -> Self {
        table.clone_into(&mut self.table);
        self
    }

    /// What becomes of delivered rows: `keep`, `mark` or `delete`.
    #[must_use]
    pub fn delivered(mut self, word: &'static str) -> Self {
        self.delivered = word;
        self
    }

    /// One more transform, as the keys of a block on one line: `type: filter, keep: 'op == "insert"'`.
    #[must_use]
    pub fn transform(mut self, keys: &str) -> Self {
        self.transforms.push(format!("  - {{{keys}}}\n"));
        self
    }

    /// Another output.
    #[must_use]
    pub fn output(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.output);
        self
    }

    /// Further lines of the file, such as `on_error: dead-letter`.
    #[must_use]
    pub fn with(mut self, lines: &str) -> Self {
        self.rest.push_str(lines);
        self.rest.push('\n');
        self
    }

    /// Where the records go.
    pub fn path_of_output(&self) -> &Path {
        &self.output
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        // JSON's texts are YAML's double-quoted scalars.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let transforms = match self.transforms.as_slice() {
            [] => String::new(),
            all => format!("transforms:\n{}", all.concat()),
        };
        format!(
            "name: {}\nsource:\n  type: polling\n  url: {}\n  tables: [{}]\n  mode: append\n  delivered: {}\n\
             {transforms}sink:\n  type: file\n  path: {}\n  format: json\n{}",
            self.name,
            quoted(&self.url),
            self.table,
            self.delivered,
            quoted(&self.output.display().to_string()),
            self.rest,
        )
    }

    /// Writes it to `<name>.yaml` in a folder, and gives the path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("{}.yaml", self.name));
        fs::write(&path, self.text()).unwrap();
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_as_an_operator_would_write_it() {
        let file = PipelineFile::new("shop", "sqlite:/tmp/a \"b\".db", Path::new("/tmp"))
            .delivered("mark")
            .transform("type: outbox, preset: eventuate")
            .with("on_error: dead-letter");
        let text = "name: shop
source:
  type: polling
  url: \"sqlite:/tmp/a \\\"b\\\".db\"
  tables: [outbox]
  mode: append
  delivered: mark
transforms:
  - {type: outbox, preset: eventuate}
sink:
  type: file
  path: \"/tmp/shop.jsonl\"
  format: json
on_error: dead-letter
";
        assert_eq!(file.text(), text);
    }
}
