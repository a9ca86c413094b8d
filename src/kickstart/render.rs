//! Template to answer file: minijinja, with nothing undefined and nothing escaped by itself.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};

use super::suggest::nearest;
use super::words;
use crate::recipe::{Fault, Faults, Place};

/// What one kickstart may cost to fill in: steps, and bytes that are made on the way. Far more than any
/// needs, over in a moment.
const FUEL: u64 = 100_000;

/// Texts by template name, for error messages.
type Texts = Arc<Mutex<HashMap<String, String>>>;

/// Renders a kickstart template.
///
/// `load` gives the text of a template named by `{% include "common.ks" %}`, `None` where there is
/// none, or says why it may not be taken in; what it names is rendered with the same context and
/// becomes part of the answer file. The filter `quote` makes
/// a value one word of a kickstart line or of a shell script.
pub fn render(
    template: &str,
    file: &str,
    context: &serde_json::Value,
    load: impl Fn(&str) -> Result<Option<String>, String> + Send + Sync + 'static,
) -> Result<String, Faults> {
    let texts = Texts::default();
    remember(&texts, file, template);
    environment(texts.clone(), load)
        .and_then(|mut environment| {
            environment.add_template_owned(file.to_owned(), template.to_owned())?;
            environment.get_template(file)?.render(value(context))
        })
        .map_err(|error| Faults(vec![fault(&error, file, &texts, context)]))
}

/// JSON as the template engine has it.
fn value(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(yes) => Value::from(*yes),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => Value::from(n),
            (None, Some(n)) => Value::from(n),
            (None, None) => Value::from(number.as_f64()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(value).collect(),
        Json::Object(map) => {
            let map: BTreeMap<String, Value> =
                map.iter().map(|(key, item)| (key.clone(), value(item))).collect();
            Value::from(map)
        }
    }
}

fn environment(
    texts: Texts,
    load: impl Fn(&str) -> Result<Option<String>, String> + Send + Sync + 'static,
) -> Result<Environment<'static>, Error> {
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    let mut environment = Environment::new();
    environment.set_syntax(syntax.build()?);
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.add_filter("quote", quote);
    environment.set_loader(move |name| {
        let refused = |why: String| Error::new(ErrorKind::InvalidOperation, why);
        let text = load(name).map_err(refused)?;
        if let Some(text) = &text {
            remember(&texts, name, text);
        }
        Ok(text)
    });
    Ok(environment)
}

fn remember(texts: &Texts, name: &str, text: &str) {
    let mut texts = texts.lock().unwrap_or_else(PoisonError::into_inner);
    texts.insert(name.to_owned(), text.to_owned());
}

/// The filter `quote`.
fn quote(value: &str) -> Result<String, Error> {
    if value.contains('\n') {
        let message = "a value with a line break cannot be one word of a kickstart";
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    Ok(words::quote(value))
}

fn fault(error: &Error, file: &str, texts: &Texts, context: &serde_json::Value) -> Fault {
    let error = innermost(error);
    let name = error.name().unwrap_or(file);
    let texts = texts.lock().unwrap_or_else(PoisonError::into_inner);
    let text = texts.get(name).map_or("", String::as_str);
    let range = error.range();
    let line = error.line().unwrap_or(1).max(1);
    let at = Place {
        file: name.into(),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: range.as_ref().map_or(1, |r| column(text, r.start)),
    };
    let expression = range.and_then(|r| text.get(r)).unwrap_or_default();
    let (message, help) = words_for(error, expression, context);
    let text = text.lines().nth(line - 1).unwrap_or_default().to_owned();
    Fault { at, text, message, help }
}

/// An error in an included template is wrapped once per include.
fn innermost(error: &Error) -> &Error {
    let mut inner = error;
    while let Some(next) = inner.source().and_then(|s| s.downcast_ref::<Error>()) {
        inner = next;
    }
    inner
}

/// The column (characters, from 1) of a byte offset.
fn column(text: &str, offset: usize) -> u32 {
    let before = text.get(..offset).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    u32::try_from(line.chars().count() + 1).unwrap_or(u32::MAX)
}

fn words_for(
    error: &Error,
    expression: &str,
    context: &serde_json::Value,
) -> (String, Option<String>) {
    match error.kind() {
        ErrorKind::UndefinedError => {
            let message = match expression {
                "" => "a value is not defined".to_owned(),
                _ => format!("`{expression}` is not defined"),
            };
            (message, defined(expression, context))
        }
        ErrorKind::OutOfFuel => (
            "filling this in takes too many steps, or makes too long a text".to_owned(),
            Some("a kickstart needs no such loops".to_owned()),
        ),
        ErrorKind::TemplateNotFound => {
            let message = error.detail().unwrap_or("a template does not exist");
            (message.to_owned(), Some("`include` names a file beside this one".to_owned()))
        }
        _ => (error.detail().map_or_else(|| error.kind().to_string(), str::to_owned), None),
    }
}

/// What would have been defined, as far as the path before the fault can be followed.
fn defined(expression: &str, context: &serde_json::Value) -> Option<String> {
    let mut value = context;
    for part in expression.split('.') {
        let map = value.as_object()?;
        match map.get(part) {
            Some(next) => value = next,
            None => {
                let names: Vec<&str> = map.keys().map(String::as_str).collect();
                return match nearest(part, names.iter().copied()) {
                    Some(near) => Some(format!("did you mean `{near}`?")),
                    None => Some(format!("defined here: {}", names.join(", "))),
                };
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn one(template: &str) -> Result<String, String> {
        let context = json!({ "machine": { "name": "controller" }, "vars": { "pw": "a b'c" } });
        let load = |name: &str| match name {
            "ok.ks" => Ok(Some("lang {{ machine.name }}\n".to_owned())),
            "bad.ks" => Ok(Some("lang en\n  text {{ machine.nmae }}\n".to_owned())),
            "shut.ks" => Err("`shut.ks` may not be read".to_owned()),
            _ => Ok(None),
        };
        render(template, "t.ks", &context, load).map_err(|e| e.to_string())
    }

    #[test]
    fn blocks_leave_no_empty_lines_and_nothing_is_escaped() {
        let text = one(
            "{% for x in [1, 2] %}\n  {% if x %}\nn {{ x }} <&>\n  {% endif %}\n{% endfor %}\nend\n",
        );
        assert_eq!(text.unwrap(), "n 1 <&>\nn 2 <&>\nend\n");
    }

    #[test]
    fn included_templates_are_rendered_in_place() {
        assert_eq!(one("{% include \"ok.ks\" %}\ntext\n").unwrap(), "lang controller\ntext\n");
    }

    #[test]
    fn quoted_values_are_one_word() {
        let text = one("rootpw {{ vars.pw | quote }}").unwrap();
        assert_eq!(words::split(&text, words::Comments::Dropped).unwrap()[1].text, "a b'c");
        assert!(one("x {{ \"a\\nb\" | quote }}").unwrap_err().contains("line break"));
    }

    #[test]
    fn a_template_that_may_not_be_taken_in_is_a_fault_of_the_line_that_names_it() {
        let said = one("text\n  {% include \"shut.ks\" %}\n").unwrap_err();
        assert!(said.starts_with("t.ks:2:"), "{said}");
        assert!(said.contains("`shut.ks` may not be read"), "{said}");
    }

    #[test]
    fn what_grows_without_end_is_a_fault_and_takes_no_memory() {
        let doubled = "{% set a = a ~ a %}".repeat(36);
        for text in [
            format!("{{% set a = 'x' %}}{doubled}{{{{ a }}}}"),
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}".into(),
            "{{ (('x' * 90000000)|replace('x', 'y' * 9000))|length }}".into(),
            "{% include 't.ks' %}".into(),
            "{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}".into(),
        ] {
            let begun = std::time::Instant::now();
            assert!(one(&text).is_err(), "{text:.60}");
            assert!(begun.elapsed().as_secs() < 5, "{text:.60}");
        }
        let said = one(&format!("{{% set a = 'x' %}}{doubled}")).unwrap_err();
        assert!(said.contains("too long a text"), "{said}");
    }

    #[test]
    fn faults_stand_in_the_template() {
        insta::assert_snapshot!(one("text\nlang {{ machine.nam }}\n").unwrap_err());
        insta::assert_snapshot!(one("{{ vars.nothing_like_it }}").unwrap_err());
        insta::assert_snapshot!(one("{% if machine %}\ntext\n").unwrap_err());
        insta::assert_snapshot!(one("{% include \"no.ks\" %}").unwrap_err());
        insta::assert_snapshot!(one("text\n{% include \"bad.ks\" %}\n").unwrap_err());
        insta::assert_snapshot!(one("{{ machine.name | shout }}").unwrap_err());
    }
}
