//! The pipeline's `key:` and `headers:` over any format.

use std::sync::Arc;

use async_trait::async_trait;
use outflow_sdk::{EventRef, Format, RecordWriter, Result, TableSchema, Template};

/// Puts the pipeline's own key and headers on every record that `format` writes. The key replaces that of the
/// format; headers come behind those of the format, and may repeat a name.
///
/// A template of one field hands NULL through: the record then has no key, or the header a null value. Where a
/// change of key gives a delete and a create, each takes its columns from its own image of the row.
pub fn with_overrides(
    format: Box<dyn Format>,
    key: Option<Template>,
    headers: Vec<(String, Template)>,
) -> Box<dyn Format> {
    if key.is_none() && headers.is_empty() {
        return format;
    }
    Box::new(Overrides { format, key, headers, text: Vec::new() })
}

struct Overrides {
    format: Box<dyn Format>,
    key: Option<Template>,
    headers: Vec<(String, Template)>,
    text: Vec<u8>,
}

#[async_trait]
impl Format for Overrides {
    async fn prepare(&mut self, schemas: &[Arc<TableSchema>]) -> Result<()> {
        self.format.prepare(schemas).await
    }

    fn encode(&mut self, event: EventRef<'_>, out: &mut RecordWriter) -> Result<()> {
        let first = out.len();
        self.format.encode(event, out)?;
        for index in first..out.len() {
            if let Err(error) = self.amend(event, out, index) {
                // An event is encoded whole or not at all.
                out.truncate(first);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Overrides {
    fn amend(&mut self, event: EventRef<'_>, out: &mut RecordWriter, index: usize) -> Result<()> {
        let Self { key, headers, text, .. } = self;
        let Some(mut record) = out.amend(index) else { return Ok(()) };
        let image = record.image();
        let mut render = |template: &mut Template, put: &mut dyn FnMut(Option<&[u8]>)| -> Result<()> {
            text.clear();
            let written = template.render_nullable(event, image, text)?;
            put(written.then_some(text.as_slice()));
            Ok(())
        };
        if let Some(key) = key {
            render(key, &mut |value| record.key(value))?;
        }
        for (name, template) in headers {
            render(template, &mut |value| record.header(name, value))?;
        }
        Ok(())
    }
}
