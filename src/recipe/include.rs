//! What recipes share: the files that `include` names, put in where they are asked for.
//!
//! In `lab.yaml`, `include:` takes in networks, machines and variables, before the recipe's own:
//! mappings, in which places do not matter and no name may be given twice. In a stage, an entry
//! `include: FILE` of `steps` or `checks` stands for those of the file: lists, in which places
//! matter. A file that is included includes nothing itself, so a stage is at most one file away
//! from what it runs.
//!
//! Both happen on trees, before shapes are read out of them: every value keeps its place, and what
//! is said about it points into its own file.

use std::collections::BTreeMap;

use super::find::Found;
use super::leaf::SharedFile;
use super::model::Place;
use super::paths;
use super::raw;
use super::shape::{At, Shape};
use super::source::{self, Report, Source};
use super::template::Templates;
use super::yaml::{self, Key, Node, Tree};

/// The key.
const INCLUDE: &str = "include";

/// Name and text of files that were included, for manifests.
pub(super) type Texts = Vec<(String, String)>;

/// Takes in a file that the recipe names at `at`: of its own folder or a shared one. `what` is
/// what messages call it.
pub(super) fn admit(
    found: &Found,
    file: &str,
    at: &Place,
    what: &str,
    report: &mut Report,
) -> Option<Source> {
    let read = paths::shared(&found.dir, file, what).and_then(|path| {
        let unreadable = |e: std::io::Error| (format!("cannot read `{file}`"), e.to_string());
        let bytes = source::read_bytes(&path).map_err(unreadable)?;
        Ok((found.shown_path(file, &path), bytes))
    });
    match read {
        Ok((shown, bytes)) => report.admit(&shown, &bytes),
        Err((message, help)) => {
            report.fault(at, message, help);
            None
        }
    }
}

/// The tree of an included file.
fn tree(found: &Found, file: &At<SharedFile>, report: &mut Report) -> Option<(Source, Node)> {
    let At { value: SharedFile(name), at } = file;
    let source = admit(found, name, at, "file to include:", report)?;
    let node = yaml::parse(&source, report)?;
    if node.is_null() {
        report.fault(&source.place(1, 1), "the file is empty", "it was to hold what is shared");
        return None;
    }
    Some((source, node))
}

/// Files that a `lab.yaml` includes.
#[derive(Debug, Default)]
pub(super) struct Commons {
    files: Vec<(Source, Node)>,
    /// Not all of them could be read, so that what is missing may not be the recipe's fault.
    pub are_faulty: bool,
    pub texts: Texts,
}

impl Commons {
    /// Reads what `lab` includes.
    pub fn read(lab: &Node, found: &Found, report: &mut Report) -> Self {
        let mut commons = Commons::default();
        let Some(node) = lab.get(INCLUDE) else { return commons };
        let Some(named) = <Vec<At<SharedFile>>>::read(node, report) else {
            commons.are_faulty = true;
            return commons;
        };
        for (i, file) in named.iter().enumerate() {
            if is_new(file, &named[..i], report) {
                commons.take(file, found, report);
            }
        }
        commons
    }

    fn take(&mut self, file: &At<SharedFile>, found: &Found, report: &mut Report) {
        let Some((source, node)) = tree(found, file, report) else {
            self.are_faulty = true;
            return;
        };
        self.texts.push((file.value.0.clone(), source.text.clone()));
        match &node.tree {
            Tree::Map(entries) if entries.iter().any(|(key, _)| key.text == INCLUDE) => {
                nested(entries, report);
                self.are_faulty = true;
            }
            _ => self.files.push((source, node)),
        }
    }

    /// Fills in the templates of all but variables, and says what is wrong with the files.
    pub fn fill(&mut self, templates: &Templates, report: &mut Report) {
        for (source, node) in &mut self.files {
            if let Tree::Map(entries) = &mut node.tree {
                for (_, value) in entries.iter_mut().filter(|(key, _)| key.text != "vars") {
                    templates.fill(value, source, report);
                }
            }
            raw::Commons::read(node, report);
        }
    }

    /// Puts what the files hold under `key` before what `lab` holds there. With `may_override`,
    /// what the lab itself gives holds.
    pub fn put_into(&self, lab: &mut Node, key: &str, may_override: bool, report: &mut Report) {
        let Tree::Map(entries) = &mut lab.tree else { return };
        let mut shared: Vec<(Key, Node)> = Vec::new();
        let mut first: Option<Key> = None;
        for (name, value) in self.files.iter().filter_map(|(_, file)| entry(file, key)) {
            let Tree::Map(values) = &value.tree else { continue };
            first.get_or_insert_with(|| name.clone());
            values.iter().for_each(|value| add(&mut shared, value.clone(), key, report));
        }
        let Some(first) = first else { return };
        match entries.iter_mut().find(|(own, _)| own.text == key) {
            None => entries.push((first.clone(), Node { at: first.at, tree: Tree::Map(shared) })),
            // Of another form: that is said when it is read.
            Some((_, Node { tree: Tree::Map(own), .. })) => {
                if may_override {
                    shared.retain(|(name, _)| !own.iter().any(|(own, _)| own.text == name.text));
                }
                let given = std::mem::replace(own, shared);
                given.into_iter().for_each(|value| add(own, value, key, report));
            }
            Some(_) => {}
        }
    }

    /// Has nobody miss in `lab` what may stand in a file that could not be read.
    pub fn excuse(&self, lab: &mut Node) {
        let at = lab.at.clone();
        let Tree::Map(entries) = &mut lab.tree else { return };
        for text in ["networks", "machines"].into_iter().filter(|_| self.are_faulty) {
            if !entries.iter().any(|(key, _)| key.text == text) {
                let key = Key { at: at.clone(), text: text.to_owned() };
                entries.push((key, Node { at: at.clone(), tree: Tree::Faulty }));
            }
        }
    }
}

fn entry<'a>(node: &'a Node, key: &str) -> Option<(&'a Key, &'a Node)> {
    let Tree::Map(entries) = &node.tree else { return None };
    entries.iter().find(|(name, _)| name.text == key).map(|(name, value)| (name, value))
}

/// Adds a named value, unless there is one of that name already.
fn add(values: &mut Vec<(Key, Node)>, value: (Key, Node), of: &str, report: &mut Report) {
    let name = &value.0;
    match values.iter().find(|(earlier, _)| earlier.text == name.text) {
        Some((earlier, _)) => {
            let message = format!("`{}` is given twice under `{of}`", name.text);
            let help = format!("the first one is on {}", earlier.at.seen_from(&name.at));
            report.fault(&name.at, message, help);
        }
        None => values.push(value),
    }
}

fn nested(entries: &[(Key, Node)], report: &mut Report) {
    for (key, _) in entries.iter().filter(|(key, _)| key.text == INCLUDE) {
        let help = "name that file where this one is included";
        report.fault(&key.at, "a file that is included cannot include others", help);
    }
}

/// Whether a file was not included before.
fn is_new(file: &At<SharedFile>, earlier: &[At<SharedFile>], report: &mut Report) -> bool {
    let twin = earlier.iter().find(|earlier| earlier.value == file.value);
    if let Some(twin) = twin {
        let message = format!("`{}` is included twice", file.value.0);
        let help = format!("the first time on {}", twin.at.seen_from(&file.at));
        report.fault(&file.at, message, help);
    }
    twin.is_none()
}

/// Puts steps and checks of other files where the `include` entries of a stage stand.
pub(super) fn into_stage(
    stage: &mut Node,
    found: &Found,
    templates: &Templates,
    report: &mut Report,
) -> Parts {
    let mut splicer = Splicer { found, templates, report, parts: Parts::default() };
    for key in ["steps", "checks"] {
        let Tree::Map(entries) = &mut stage.tree else { continue };
        let list = entries.iter_mut().find(|(name, _)| name.text == key);
        if let Some((_, Node { tree: Tree::List(items), .. })) = list {
            *items = splicer.list(std::mem::take(items), key);
        }
    }
    splicer.parts
}

/// What a stage includes, apart from the steps and checks themselves.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub texts: Texts,
    /// The values that the included steps use, as [`values_of_steps`] gives them.
    pub values: BTreeMap<Place, Vec<String>>,
}

/// What `secret: values` hides of each step of a stage that is not filled in yet, by place.
pub(super) fn values_of_steps(templates: &Templates, stage: &Node) -> BTreeMap<Place, Vec<String>> {
    let Some(Tree::List(steps)) = stage.get("steps").map(|steps| &steps.tree) else {
        return BTreeMap::new();
    };
    steps.iter().map(|step| (step.at.clone(), templates.values_in(step))).collect()
}

struct Splicer<'a> {
    found: &'a Found,
    templates: &'a Templates,
    report: &'a mut Report,
    parts: Parts,
}

impl Splicer<'_> {
    fn list(&mut self, items: Vec<Node>, key: &str) -> Vec<Node> {
        let mut whole = Vec::new();
        let mut earlier: Vec<At<SharedFile>> = Vec::new();
        for item in items {
            if item.get(INCLUDE).is_none() {
                whole.push(item);
                continue;
            }
            let file = raw::Include::read(&item, self.report).and_then(|entry| entry.include);
            let file = file.filter(|file| is_new(file, &earlier, self.report));
            earlier.extend(file.clone());
            // Nobody is to miss the entries of a file that cannot be read.
            let unread = || vec![Node { at: item.at.clone(), tree: Tree::Faulty }];
            whole.extend(file.and_then(|file| self.part(&file, key)).unwrap_or_else(unread));
        }
        whole
    }

    /// The steps or checks of an included file; those that cannot be read are left to the reader
    /// of the stage.
    fn part(&mut self, file: &At<SharedFile>, key: &str) -> Option<Vec<Node>> {
        let (source, mut node) = tree(self.found, file, self.report)?;
        self.parts.texts.push((file.value.0.clone(), source.text.clone()));
        self.parts.values.extend(values_of_steps(self.templates, &node));
        self.templates.fill(&mut node, &source, self.report);
        if node.get("title").is_some() {
            let message = format!("`{}` is a stage of its own", file.value.0);
            let help = "what can be included has `steps` or `checks`, and no title";
            self.report.fault(&file.at, message, help);
            return None;
        }
        let Tree::Map(entries) = &mut node.tree else {
            raw::Part::read(&node, self.report);
            return None;
        };
        for (_, value) in entries.iter_mut() {
            if let Tree::List(items) = &mut value.tree {
                items.iter_mut().for_each(|item| self.refuse_nested(item));
            }
        }
        let part = raw::Part::read(&node, self.report)?;
        if !part.given.iter().any(|given| given == key) && !part.given.is_empty() {
            let message = format!("`{}` holds no `{key}`", file.value.0);
            let help = format!("it holds `{}`: include it there", part.given.join("` and `"));
            self.report.fault(&file.at, message, help);
        }
        match &node.get(key)?.tree {
            Tree::List(items) => Some(items.clone()),
            _ => None,
        }
    }

    fn refuse_nested(&mut self, item: &mut Node) {
        if let Tree::Map(entries) = &item.tree
            && item.get(INCLUDE).is_some()
        {
            nested(entries, self.report);
            item.tree = Tree::Faulty;
        }
    }
}
