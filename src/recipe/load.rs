//! From a path to a lab: reads the files in turn and goes on after every fault, so that one run
//! reports what is wrong with all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::expose;
use super::fault::Faults;
use super::find::{self, Found};
use super::include::{self, Commons, Texts};
use super::leaf::{AsWritten, StageFile, VarName};
use super::machines;
use super::model::{Expose, Lab, Machine, Network, Place, Stage};
use super::near;
use super::networks;
use super::paths;
use super::raw;
use super::shape::{At, Named, Shape};
use super::source::{Report, Source};
use super::stages;
use super::template::{Context, Templates};
use super::yaml::{self, Kind, Node, Tree};

/// Why there is no lab.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The recipe has faults: all of them.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// No recipe is there.
    #[error("{message}")]
    NotFound {
        /// The path that was asked for.
        path: PathBuf,
        /// What was looked for, what is there, and what may have been meant.
        message: String,
    },
    /// The file is there and cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
}

/// Reads the recipe at `path`: a folder that holds a `lab.yaml`, or that file.
///
/// `overrides` set variables that the recipe declares.
pub fn load(path: &Path, overrides: &BTreeMap<String, String>) -> Result<Lab, LoadError> {
    let found = find::recipe(path)?;
    let bytes = found.bytes()?;
    let mut report = Report::default();
    let lab = Reader { found: &found, overrides, report: &mut report }.lab(&bytes);
    match lab {
        Some(lab) if report.is_clean() => Ok(lab),
        _ => Err(report.into_faults().into()),
    }
}

/// Keys of `lab.yaml` in which templates are not filled in.
const LITERAL: [&str; 5] = ["schema", "name", "include", "vars", "stages"];

struct Reader<'a> {
    found: &'a Found,
    overrides: &'a BTreeMap<String, String>,
    report: &'a mut Report,
}

/// A stage file that was read.
struct StageText {
    /// As in the recipe, e.g. `10-system.yaml`.
    file: String,
    text: String,
    stage: Option<Stage>,
    /// What it includes.
    included: Texts,
}

/// What the parts of a recipe came to.
struct Parts {
    networks: Vec<Network>,
    machines: Vec<Machine>,
    exposed: Vec<Expose>,
    stages: Vec<StageText>,
    vars: BTreeMap<String, String>,
}

impl Reader<'_> {
    fn lab(&mut self, bytes: &[u8]) -> Option<Lab> {
        let source = self.report.admit(&self.found.shown("lab.yaml"), bytes)?;
        let Some(mut node) = yaml::parse(&source, self.report) else {
            self.stages_without_lab(&source);
            return None;
        };
        if self.is_not_for_us(&node, &source) {
            return None;
        }
        let mut commons = Commons::read(&node, self.found, self.report);
        commons.put_into(&mut node, "vars", true, self.report);
        let vars = self.vars(&node, !commons.are_faulty);
        let mut templates = Templates::new((!commons.are_faulty).then(|| context(&vars)));
        fill_lab(&templates, &mut node, &source, self.report);
        commons.fill(&templates, self.report);
        for key in ["networks", "machines"] {
            commons.put_into(&mut node, key, false, self.report);
        }
        commons.excuse(&mut node);
        let raw = raw::Lab::read(&node, self.report)?;
        if commons.are_faulty {
            // What the rest refers to may stand in what could not be read.
            self.stages(&raw, None, &templates);
            return None;
        }
        let networks = self.networks(&raw);
        let machines = self.machines(&raw, &networks);
        let exposed = self.exposed(&raw, &networks, &machines);
        templates.show_lab(&networks, &machines);
        templates.lab_is_faulty = !self.report.is_clean();
        let names = raw.machines.as_ref().map(|machines| machines.value.names.as_slice());
        let stages = self.stages(&raw, names, &templates);
        let texts = [vec![("lab.yaml".to_owned(), source.text)], commons.texts].concat();
        let parts = Parts { networks, machines, exposed, stages, vars };
        self.assemble(&raw, texts, parts)
    }

    /// Empty files and other formats: one fault says it all.
    fn is_not_for_us(&mut self, node: &Node, source: &Source) -> bool {
        if node.is_null() {
            let help = "a recipe begins with `schema: 1`, then `name:`, `title:`, `networks:`, …";
            self.report.fault(&source.place(1, 1), "the file is empty", help);
            return true;
        }
        let schema = node.get("schema");
        let number = schema.and_then(Node::scalar).map(|scalar| scalar.kind);
        if let (Some(schema), Some(Kind::Int(number))) = (schema, number)
            && number > raw::FORMAT
        {
            raw::Format::read(schema, self.report);
            return true;
        }
        false
    }

    /// The variables after overrides; `all_known` unless some may be declared elsewhere.
    fn vars(&mut self, lab: &Node, all_known: bool) -> BTreeMap<String, String> {
        let declared = lab.get("vars").filter(|node| matches!(node.tree, Tree::Map(_)));
        let declared =
            declared.and_then(|node| Named::<VarName, AsWritten>::take(node, self.report));
        let mut vars = BTreeMap::new();
        for (name, value) in declared.iter().flat_map(|vars| &vars.entries) {
            self.check_var_name(name);
            let value = value.as_ref().map_or("", |AsWritten(text)| text);
            vars.insert(name.value.0.clone(), value.to_owned());
        }
        let at = lab.get("vars").unwrap_or(lab).at.clone();
        for (name, value) in self.overrides {
            match vars.get_mut(name) {
                Some(var) => var.clone_from(value),
                None if all_known => self.unknown_override(name, &vars, &at),
                None => {}
            }
        }
        vars
    }

    fn check_var_name(&mut self, name: &At<VarName>) {
        if ["machines", "networks"].contains(&name.value.0.as_str()) {
            let message = format!("a variable cannot be called `{}`", name.value.0);
            let help = "in stage files, templates find the lab itself under that name";
            self.report.fault(&name.at, message, help);
        }
    }

    fn unknown_override(&mut self, name: &str, vars: &BTreeMap<String, String>, at: &Place) {
        let help = near::suggestion(name, "it declares", vars.keys().map(String::as_str))
            .unwrap_or_else(|| "it declares none: add `vars:`".to_owned());
        let message = format!("the command line sets `{name}`, which the recipe does not declare");
        self.report.fault(at, message, help);
    }

    fn networks(&mut self, raw: &raw::Lab) -> Vec<Network> {
        let declared = raw.networks.as_ref();
        declared.map_or_else(Vec::new, |declared| networks::read(&declared.value, self.report))
    }

    fn machines(&mut self, raw: &raw::Lab, networks: &[Network]) -> Vec<Machine> {
        let Some(declared) = &raw.machines else { return Vec::new() };
        let names = raw.networks.as_ref().map(|networks| networks.value.names.as_slice());
        let around = machines::Surroundings {
            dir: &self.found.dir,
            base: raw.base.as_ref().map(|base| &base.value),
            base_is_faulty: raw.base.is_none() && raw.given.iter().any(|key| key == "base"),
            networks,
            network_names: names.unwrap_or_default(),
        };
        machines::read(&declared.value, &around, self.report)
    }

    fn exposed(
        &mut self,
        raw: &raw::Lab,
        networks: &[Network],
        machines: &[Machine],
    ) -> Vec<Expose> {
        let declared = raw.machines.as_ref().map(|declared| &declared.value);
        let around = expose::Surroundings { networks, machines, declared };
        let exposed = raw.expose.as_ref().map_or(&[][..], |exposed| exposed.value.as_slice());
        expose::read(exposed, &around, self.report)
    }

    fn stages(
        &mut self,
        raw: &raw::Lab,
        machines: Option<&[String]>,
        templates: &Templates,
    ) -> Vec<StageText> {
        let mut read: Vec<StageText> = Vec::new();
        for At { value: StageFile(file), at } in raw.stages.iter().flat_map(|list| &list.value) {
            if read.iter().any(|earlier| stage_name(&earlier.file) == stage_name(file)) {
                let message = format!("two stages are called `{}`", stage_name(file));
                self.report.fault(at, message, "every stage has a file name of its own");
                continue;
            }
            read.extend(self.stage(file, at, machines, templates));
        }
        read
    }

    fn stage(
        &mut self,
        file: &str,
        at: &Place,
        machines: Option<&[String]>,
        templates: &Templates,
    ) -> Option<StageText> {
        let source = include::admit(self.found, file, at, "stage file", self.report)?;
        let mut included = Texts::new();
        let stage = self.stage_text(file, &source, machines, templates, &mut included);
        Some(StageText { file: file.to_owned(), text: source.text, stage, included })
    }

    fn stage_text(
        &mut self,
        file: &str,
        source: &Source,
        machines: Option<&[String]>,
        templates: &Templates,
        included: &mut Texts,
    ) -> Option<Stage> {
        let mut node = yaml::parse(source, self.report)?;
        if node.is_null() {
            let help = "a stage begins with `title:`, then `steps:` and `checks:`";
            self.report.fault(&source.place(1, 1), "the file is empty", help);
            return None;
        }
        let mut values = include::values_of_steps(templates, &node);
        templates.fill(&mut node, source, self.report);
        let parts = include::into_stage(&mut node, self.found, templates, self.report);
        *included = parts.texts;
        values.extend(parts.values);
        let raw = raw::Stage::read(&node, self.report)?;
        let around = stages::Surroundings { dir: &self.found.dir, machines, values: &values };
        stages::read(stage_name(file), &raw, &around, self.report)
    }

    /// Where `lab.yaml` has no readable structure: the stage files that its text names are still
    /// looked through for what can be wrong with them on their own.
    fn stages_without_lab(&mut self, lab: &Source) {
        let templates = Templates::new(None);
        let words = lab.text.split(|c: char| c.is_whitespace() || "[],\"'".contains(c));
        for file in words.filter(|word| StageFile::accepts(word)) {
            if *file != *"lab.yaml" && paths::shared(&self.found.dir, file, "stage file").is_ok() {
                self.stage(file, &lab.place(1, 1), None, &templates);
            }
        }
    }

    fn assemble(&self, raw: &raw::Lab, mut sources: Texts, parts: Parts) -> Option<Lab> {
        let Parts { networks, machines, exposed, stages, vars } = parts;
        let mut read = Vec::new();
        for StageText { file, text, stage, included } in stages {
            for (name, text) in std::iter::once((file, text)).chain(included) {
                if !sources.iter().any(|(earlier, _)| *earlier == name) {
                    sources.push((name, text));
                }
            }
            read.push(stage?);
        }
        Some(Lab {
            name: raw.name.as_ref()?.value.0.clone(),
            title: raw.title.as_ref()?.value.0.clone(),
            dir: self.found.dir.clone(),
            networks,
            machines,
            exposed,
            stages: read,
            vars,
            sources,
        })
    }
}

fn context(vars: &BTreeMap<String, String>) -> Context {
    vars.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
}

fn fill_lab(templates: &Templates, lab: &mut Node, source: &Source, report: &mut Report) {
    let Tree::Map(entries) = &mut lab.tree else { return };
    for (_, value) in entries.iter_mut().filter(|(key, _)| !LITERAL.contains(&key.text.as_str())) {
        templates.fill(value, source, report);
    }
}

/// `10-system` of `10-system.yaml`.
fn stage_name(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".yaml").unwrap_or(name)
}
