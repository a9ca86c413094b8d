//! libvirt's XML, written through a small tree so that every value is escaped by the writer and
//! none is ever pasted into text.

mod domain;
mod network;
mod snapshot;

pub(super) use domain::{MARK_URI, domain};
pub(super) use network::{digest_in, network};
pub(super) use snapshot::disk_snapshot;

use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

use super::BackendError;

/// One element: attributes in order, then either children or text.
#[derive(Debug, Clone)]
struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Element>,
    text: Option<String>,
}

fn element(name: &'static str) -> Element {
    Element { name, attributes: Vec::new(), children: Vec::new(), text: None }
}

impl Element {
    fn attr(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    fn child(mut self, child: Element) -> Self {
        self.children.push(child);
        self
    }

    fn children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.children.extend(children);
        self
    }

    fn render(&self) -> Result<String, BackendError> {
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
        self.write(&mut writer)
            .map_err(|e| BackendError::Invalid(format!("XML cannot be written: {e}")))?;
        String::from_utf8(writer.into_inner())
            .map_err(|e| BackendError::Invalid(format!("XML cannot be written: {e}")))
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>) -> std::io::Result<()> {
        let attributes = self.attributes.iter().map(|(name, value)| (*name, value.as_str()));
        let start = BytesStart::new(self.name).with_attributes(attributes);
        if self.children.is_empty() && self.text.is_none() {
            return writer.write_event(Event::Empty(start));
        }
        writer.write_event(Event::Start(start))?;
        if let Some(text) = &self.text {
            writer.write_event(Event::Text(BytesText::new(text)))?;
        }
        for child in &self.children {
            child.write(writer)?;
        }
        writer.write_event(Event::End(BytesEnd::new(self.name)))
    }
}

/// A value that XML can carry: no control characters (an attribute would lose even a newline).
fn plain(what: &str, value: &str) -> Result<String, BackendError> {
    match value.chars().find(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')) {
        None if value.is_empty() => Err(BackendError::Invalid(format!("{what} is empty"))),
        None => Ok(value.to_owned()),
        Some(bad) => Err(BackendError::Invalid(format!(
            "{what} {value:?} holds the character {bad:?}, which libvirt's XML cannot carry"
        ))),
    }
}

/// A name in libvirt: also no slash, because libvirt makes file names of it.
fn name(what: &str, value: &str) -> Result<String, BackendError> {
    if value.contains('/') || value.starts_with('.') {
        let message = format!("{what} {value:?} cannot be a file name: no `/`, no `.` in front");
        return Err(BackendError::Invalid(message));
    }
    plain(what, value)
}

/// A path in XML, which is text: it must be absolute UTF-8.
fn path(what: &str, value: &std::path::Path) -> Result<String, BackendError> {
    match value.to_str() {
        Some(text) if value.is_absolute() => plain(what, text),
        Some(_) => Err(BackendError::Invalid(format!("{what} {value:?} is not an absolute path"))),
        None => Err(BackendError::Invalid(format!("{what} {value:?} is not UTF-8"))),
    }
}

#[cfg(test)]
mod tests;
