//! Templates: `{{ … }}` in the texts of a recipe, filled in before they are read.
//!
//! Any text may hold minijinja expressions and statements. They see the variables of `vars` by
//! name, and, in stage files, the lab itself:
//!
//! - `machines.<name>.nics.<nic>.address` (also `.network`, `.gateway`), and
//!   `machines.<name>.addresses.<network>`: its address on that network;
//! - `networks.<name>.subnet`, `.netmask`, `.prefix`, `.host`, `.gateway`.
//!
//! What is undefined is a fault, never an empty text. The filter `sh` quotes a value for a shell:
//! `mysql -p{{ password | sh }}`. Comments are `{## … ##}`, because `${#name}` is shell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use regex::Regex;

use super::model::{Machine, Network, Nic, Place};
use super::near;
use super::source::{Report, Source};
use super::yaml::{Kind, Node, Scalar, Tree};

/// Steps that one text may take to fill in: far more than any needs, over in a moment.
const FUEL: u64 = 100_000;

/// What templates can see.
pub(super) type Context = BTreeMap<String, Value>;

/// Fills templates in.
pub(super) struct Templates {
    environment: Environment<'static>,
    /// Nothing: the variables are unknown, and texts with templates are left unread.
    context: Option<Context>,
    /// Some machines or networks are faulty, so that what is missing may not be the text's fault.
    pub lab_is_faulty: bool,
}

impl Templates {
    pub fn new(context: Option<Context>) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_syntax(syntax());
        environment.set_debug(true);
        environment.set_fuel(Some(FUEL));
        environment.add_filter("sh", quote_for_shell);
        Templates { environment, context, lab_is_faulty: false }
    }

    /// Makes the lab visible to templates.
    pub fn show_lab(&mut self, networks: &[Network], machines: &[Machine]) {
        let Some(context) = &mut self.context else { return };
        context.insert("networks".to_owned(), mapping(networks.iter().map(network_value)));
        context.insert("machines".to_owned(), mapping(machines.iter().map(machine_value)));
    }

    /// Fills in every text of a tree.
    pub fn fill(&self, node: &mut Node, source: &Source, report: &mut Report) {
        match &mut node.tree {
            Tree::List(items) => items.iter_mut().for_each(|item| self.fill(item, source, report)),
            Tree::Map(map) => {
                map.iter_mut().for_each(|(_, value)| self.fill(value, source, report));
            }
            Tree::Scalar(scalar) if scalar.kind == Kind::Text && is_template(&scalar.text) => {
                let filled = self.text(&scalar.text, &node.at, source, report);
                node.tree = match filled {
                    Some(text) => Tree::Scalar(Scalar { text, kind: Kind::Text, rendered: true }),
                    None => Tree::Faulty,
                };
            }
            Tree::Scalar(_) | Tree::Faulty => {}
        }
    }

    /// What the variables in the texts of a tree that is not filled in yet come to: each value, and
    /// each expression with a variable in it as it is written out (quoted, for example).
    pub fn values_in(&self, node: &Node) -> Vec<String> {
        let mut found = BTreeSet::new();
        self.collect_values(node, &mut found);
        found.retain(|value| !value.trim().is_empty());
        found.into_iter().collect()
    }

    fn collect_values(&self, node: &Node, found: &mut BTreeSet<String>) {
        match &node.tree {
            Tree::List(items) => items.iter().for_each(|item| self.collect_values(item, found)),
            Tree::Map(map) => map.iter().for_each(|(_, value)| self.collect_values(value, found)),
            Tree::Scalar(scalar) if is_template(&scalar.text) => {
                self.collect_from_text(&scalar.text, found);
            }
            Tree::Scalar(_) | Tree::Faulty => {}
        }
    }

    fn collect_from_text(&self, text: &str, found: &mut BTreeSet<String>) {
        let Some(context) = &self.context else { return };
        found.extend(self.variables_in(text));
        for expression in EXPRESSIONS.find_iter(text).map(|found| found.as_str()) {
            if !self.variables_in(expression).is_empty() {
                let written = self.environment.render_str(expression, Value::from(context.clone()));
                // One that needs its surroundings is left at the values of its variables.
                found.extend(written.ok());
            }
        }
    }

    /// The values of the variables that a text names. A broken text names none: it is reported
    /// where it is filled in.
    fn variables_in(&self, text: &str) -> Vec<String> {
        let (Some(context), Ok(template)) =
            (&self.context, self.environment.template_from_str(text))
        else {
            return Vec::new();
        };
        let names = template.undeclared_variables(false);
        let values = names.iter().filter_map(|name| context.get(name)?.as_str().map(str::to_owned));
        values.collect()
    }

    fn text(&self, text: &str, at: &Place, source: &Source, report: &mut Report) -> Option<String> {
        let context = self.context.as_ref()?;
        let error = match self.environment.render_str(text, Value::from(context.clone())) {
            Ok(filled) => return Some(filled),
            Err(error) => error,
        };
        let undefined = error.kind() == ErrorKind::UndefinedError;
        let about_lab = text.contains("machines") || text.contains("networks");
        if !(undefined && about_lab && self.lab_is_faulty) {
            for Trouble { at: byte, message, help } in explain(&error, text, context) {
                report.fault(&place_in_text(text, byte, at, source), message, help);
            }
        }
        None
    }
}

fn is_template(text: &str) -> bool {
    ["{{", "{%", "{##"].iter().any(|mark| text.contains(mark))
}

fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder()
        .comment_delimiters("{##", "##}")
        .keep_trailing_newline(true)
        .build()
        .expect("the delimiters are constant and differ")
}

fn quote_for_shell(value: String) -> Result<String, Error> {
    shlex::try_quote(&value).map(|text| text.into_owned()).map_err(|_| {
        Error::new(ErrorKind::InvalidOperation, "a NUL byte cannot be passed to a shell")
    })
}

fn mapping(entries: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value::from(entries.into_iter().collect::<Context>())
}

/// A mapping of those fields that have a value.
fn fields<const N: usize>(fields: [(&str, Option<String>); N]) -> Value {
    let there =
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    mapping(there)
}

fn network_value(network: &Network) -> (String, Value) {
    let value = fields([
        ("subnet", Some(network.subnet.to_string())),
        ("netmask", Some(network.subnet.netmask().to_string())),
        ("prefix", Some(network.subnet.prefix.to_string())),
        ("host", network.host.map(|host| host.to_string())),
        ("gateway", network.gateway.map(|gateway| gateway.to_string())),
    ]);
    (network.name.clone(), value)
}

fn machine_value(machine: &Machine) -> (String, Value) {
    let nics = machine.nics.iter().map(|nic| (nic.name.clone(), nic_value(nic)));
    let addresses = machine
        .nics
        .iter()
        .filter_map(|nic| Some((nic.network.clone(), nic.address?.to_string().into())));
    let value = mapping([
        ("name".to_owned(), machine.name.as_str().into()),
        ("nics".to_owned(), mapping(nics)),
        ("addresses".to_owned(), mapping(addresses)),
    ]);
    (machine.name.clone(), value)
}

fn nic_value(nic: &Nic) -> Value {
    fields([
        ("network", Some(nic.network.clone())),
        ("address", nic.address.map(|address| address.to_string())),
        ("gateway", nic.gateway.map(|gateway| gateway.to_string())),
    ])
}

/// A fault of a template.
struct Trouble {
    /// Where in the text.
    at: usize,
    message: String,
    help: String,
}

/// What is wrong with a template, and what would be right.
fn explain(error: &Error, text: &str, context: &Context) -> Vec<Trouble> {
    let range = error.range().filter(|range| text.get(range.clone()).is_some()).unwrap_or(0..0);
    if error.kind() == ErrorKind::UndefinedError {
        let lost = lost_paths(text, range.start, context);
        if !lost.is_empty() {
            return lost;
        }
        let message = format!("`{}` is undefined", text[range.clone()].trim());
        return vec![Trouble { at: range.start, message, help: what_there_is(context) }];
    }
    if error.kind() == ErrorKind::OutOfFuel {
        let message = "this template takes too long".to_owned();
        let help = "large texts go into a file of their own, see `copy`".to_owned();
        return vec![Trouble { at: range.start, message, help }];
    }
    let reason = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let message = format!("this template is broken: {reason}");
    let help = "text that is no template goes between {% raw %} and {% endraw %}".to_owned();
    vec![Trouble { at: range.start, message, help }]
}

fn what_there_is(context: &Context) -> String {
    near::suggestion("", "templates see", context.keys().map(String::as_str))
        .unwrap_or_else(|| "the recipe declares no variables (`vars:`)".to_owned())
}

/// `{{ … }}` and `{% … %}`.
static EXPRESSIONS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)\{\{.*?\}\}|\{%.*?%\}").expect("the pattern is a constant"));

/// Strings, filters and tests, and `a.b.c`: what an expression is made of, as far as names go.
static PARTS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#""[^"]*"|'[^']*'|\|\s*\w+|\bis\s+\w+|(?P<path>[A-Za-z_]\w*(?:\.\w+)*)"#)
        .expect("the pattern is a constant")
});

/// The names in the expressions of a text that lead nowhere, and what to say about each.
///
/// minijinja points at the first operation that failed, which may be the filter behind a name.
/// Where statements may define names of their own, only the expression it points into is searched.
fn lost_paths(text: &str, inside: usize, context: &Context) -> Vec<Trouble> {
    EXPRESSIONS
        .find_iter(text)
        .filter(|found| !text.contains("{%") || found.range().contains(&inside))
        .flat_map(|found| {
            let paths = PARTS.captures_iter(found.as_str());
            paths.filter_map(|part| part.name("path")).filter_map(move |path| {
                let help = lost_step(context, path.as_str())?;
                let message = format!("`{}` is undefined", path.as_str());
                Some(Trouble { at: found.start() + path.start(), message, help })
            })
        })
        .collect()
}

/// Follows `a.b.c`; where it ends early, what there is at that point.
fn lost_step(context: &Context, path: &str) -> Option<String> {
    const WORDS: [&str; 10] =
        ["and", "or", "not", "if", "else", "elif", "for", "in", "true", "false"];
    let mut parts = path.split('.');
    let first = parts.next().filter(|first| !WORDS.contains(first))?;
    let Some(mut here) = context.get(first).cloned() else {
        let known = context.keys().map(String::as_str);
        return near::suggestion(first, "templates see", known)
            .or_else(|| Some(what_there_is(context)));
    };
    let mut walked = first.to_owned();
    for part in parts {
        let next = here.get_attr(part).ok()?;
        if next.is_undefined() {
            let keys = Some(&here).filter(|here| here.kind() == ValueKind::Map);
            let keys = keys.and_then(|here| here.try_iter().ok()).into_iter().flatten();
            let known: Vec<String> = keys.map(|key| key.to_string()).collect();
            let label = format!("`{walked}` has");
            let said = near::suggestion(part, &label, known.iter().map(String::as_str));
            return said.or_else(|| Some(format!("`{walked}` has no parts")));
        }
        walked = format!("{walked}.{part}");
        here = next;
    }
    None
}

/// The place of a byte of a text: on the text's own line, where the file has it so.
fn place_in_text(text: &str, byte: usize, at: &Place, source: &Source) -> Place {
    let before = text.get(..byte).unwrap_or_default();
    let down = before.matches('\n').count() as u32;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let template_line = text[line_start..].lines().next().unwrap_or_default();
    let in_line = before[line_start..].chars().count();
    let file_line = source.line(at.line + down);
    match file_line.find(template_line.trim_end()) {
        Some(start) => {
            let column = file_line[..start].chars().count() + in_line + 1;
            source.place(at.line + down, column as u32)
        }
        None => at.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::recipe::yaml;

    fn fill(text: &str, vars: &[(&str, &str)]) -> (Node, String) {
        let mut report = Report::default();
        let source = report.admit("x.yaml", text.as_bytes()).unwrap();
        let mut node = yaml::parse(&source, &mut report).unwrap();
        let context =
            vars.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
        Templates::new(Some(context)).fill(&mut node, &source, &mut report);
        (node, report.into_faults().to_string())
    }

    fn filled(text: &str, vars: &[(&str, &str)]) -> String {
        let (node, faults) = fill(&format!("a: {text}"), vars);
        assert_eq!(faults, "");
        node.get("a").unwrap().scalar().unwrap().text.clone()
    }

    #[test]
    fn nothing_is_escaped_or_trimmed_and_shell_words_are_quoted() {
        assert_eq!(filled("\"<{{ x }}>\"", &[("x", "a&b<'")]), "<a&b<'>");
        assert_eq!(filled("|\n  {{ x }}\n", &[("x", "1")]), "1\n");
        for word in ["it's $HOME", "", "a b", "`x`;\"\\"] {
            let line = filled("echo {{ x | sh }}", &[("x", word)]);
            assert_eq!(shlex::split(&line).unwrap(), ["echo", word]);
        }
    }

    #[test]
    fn the_values_that_a_text_uses_are_known_as_they_are_written_out() {
        let vars = [("pass", "it's"), ("port", "80"), ("unused", "zzz"), ("empty", "")];
        let context = vars.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
        let templates = Templates::new(Some(context.collect()));
        let mut report = Report::default();
        let text = "a: [\"x {{ pass | sh }}\", { b: \"{% if port == '80' %}y{% endif %}{{ empty }}\" }]\n\
                    c: plain\nd: \"{{ nowhere }} {{ pass | upper }} {{ '{' }}\"\n";
        let source = report.admit("x.yaml", text.as_bytes()).unwrap();
        let node = yaml::parse(&source, &mut report).unwrap();
        assert_eq!(templates.values_in(&node), ["\"it's\"", "80", "IT'S", "it's"]);
        assert!(Templates::new(None).values_in(&node).is_empty());
    }

    #[test]
    fn shell_that_looks_like_a_comment_is_left_alone() {
        assert_eq!(filled("echo ${#a} {{ x }} ${#b}", &[("x", "1")]), "echo ${#a} 1 ${#b}");
    }

    #[test]
    fn a_template_that_runs_on_is_stopped() {
        let text =
            "a: \"{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}\"";
        assert!(fill(text, &[]).1.contains("takes too long"));
    }

    #[test]
    fn faults_stand_where_the_expression_stands() {
        let text = "run: |\n  echo ü; true\n  echo ü {{ passwrod }}\nb: \"x {{ nowhere.at }}\"\n\
                    c: \"{{ x | nofilter }}\"\nd: 'a {{ x'\ne: \"{{ x.y.z }}\"\n";
        let (_, faults) = fill(text, &[("password", "x"), ("x", "1")]);
        insta::assert_snapshot!(faults);
    }
}
