//! Inside the first cage: apt reads the indexes, checks their signatures, and says what will be installed
//! at each stage of the tree, given what the stages before it have installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::apt::{self, Apt};
use super::plan::{Change, Entry, Index, Key, changes};
use super::{Ask, Resolved, Wanted, names};
use crate::base::BaseError;
use crate::base::glob::matches_glob;
use crate::base::progress::say;
use crate::host::cage::{OUT, WORK};
use crate::host::{Cmd, HostError, files};

/// Entry of the role `resolve`.
pub async fn resolve_main() -> Result<(), BaseError> {
    let ask = apt::ask()?;
    let sources = sources(&ask).await?;
    let apt = Apt::new(&ask, &sources)?;
    say("reading package lists");
    apt.command("apt-get").args(["update", "--error-on=any"]).run().await?;
    let mut resolver = Resolver::new(&apt, &ask).await?;
    resolver.stages().await?;
    let resolved = Resolved { sources, packages: resolver.wanted()? };
    let text = serde_json::to_vec(&resolved).map_err(|e| BaseError::Needs(e.to_string()))?;
    files::write_atomic(&Path::new(OUT).join(names::RESOLVED), &text)?;
    hand_lists_out(&apt)
}

async fn sources(ask: &Ask) -> Result<String, BaseError> {
    let mut text: String = ask.sources.iter().map(|line| format!("{line}\n")).collect();
    if ask.default_sources {
        text.push_str(&mmdebstraps_own(&ask.suite).await?);
    }
    Ok(text)
}

/// What mmdebstrap takes where no source is named: it is asked, and makes nothing.
async fn mmdebstraps_own(suite: &str) -> Result<String, BaseError> {
    let list = Path::new(WORK).join("default.list");
    let hook = format!("cp \"$1/etc/apt/sources.list\" {}", list.display());
    Cmd::new("mmdebstrap")
        .args(["--quiet", "--mode=root", "--variant=custom", "--format=null"])
        .args(["--skip=update,check/empty,cleanup", &format!("--setup-hook={hook}")])
        .args([suite, "/dev/null"])
        .run()
        .await?;
    Ok(files::read_text(&list)?)
}

fn hand_lists_out(apt: &Apt) -> Result<(), BaseError> {
    let to = Path::new(OUT).join(names::LISTS);
    files::create_dir(&to)?;
    let from = apt.lists();
    for entry in fs::read_dir(&from).map_err(HostError::file("list", &from))?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) && entry.file_name() != "lock" {
            let target = to.join(entry.file_name());
            fs::rename(entry.path(), &target).map_err(HostError::file("move", &target))?;
        }
    }
    Ok(())
}

struct Resolver<'a> {
    apt: &'a Apt,
    ask: &'a Ask,
    index: Index,
    installed: BTreeMap<String, Key>,
    wanted: BTreeSet<Key>,
}

impl<'a> Resolver<'a> {
    async fn new(apt: &'a Apt, ask: &'a Ask) -> Result<Self, BaseError> {
        let index = read_index(apt).await?;
        Ok(Resolver { apt, ask, index, installed: BTreeMap::new(), wanted: BTreeSet::new() })
    }

    /// mmdebstrap's stages, then the kickstart's exclusions, then packages of steps.
    async fn stages(&mut self) -> Result<(), BaseError> {
        let variant = Variant::of(self.ask)?;
        for words in [variant.essential, variant.rest] {
            self.stage("install", words).await?;
        }
        for glob in &self.ask.excluded {
            let names = self.installed.keys().filter(|name| matches_glob(glob, name)).cloned();
            self.stage("purge", names.collect()).await?;
        }
        self.stage("install", self.ask.extra.clone()).await
    }

    async fn stage(&mut self, verb: &str, words: Vec<String>) -> Result<(), BaseError> {
        if words.is_empty() {
            return Ok(());
        }
        let status: String = self.installed.values().map(|key| self.as_installed(key)).collect();
        self.apt.set_installed(&status)?;
        let verb = if words == [DIST_UPGRADE] { Vec::new() } else { vec![verb.to_owned()] };
        let run = self
            .apt
            .command("apt-get")
            .args(["--simulate", "--yes"])
            .args(["-oDebug::NoLocking=true"]);
        let said = run.args(verb).arg("--").args(&words).run().await?.text();
        for change in changes(&said) {
            match change {
                Change::Remove(name) => drop(self.installed.remove(&name)),
                Change::Install(key) => {
                    self.wanted.insert(key.clone());
                    self.installed.insert(key.0.clone(), key);
                }
            }
        }
        Ok(())
    }

    fn as_installed(&self, key: &Key) -> String {
        self.index.get(key).map(Entry::as_installed).unwrap_or_default()
    }

    fn wanted(&self) -> Result<Vec<Wanted>, BaseError> {
        let of = |key: &Key| self.index.get(key).and_then(|entry| entry.wanted(key));
        let found = self.wanted.iter().map(|key| of(key).ok_or_else(|| unvouched(key)));
        found.collect()
    }
}

fn unvouched((name, version, _): &Key) -> BaseError {
    BaseError::Refused {
        name: format!("{name} {version}"),
        reason: "no signed index gives its size and SHA-256".to_owned(),
    }
}

async fn read_index(apt: &Apt) -> Result<Index, BaseError> {
    let listing = apt
        .command("apt-get")
        .args(["indextargets", "--format", "$(FILENAME) $(REPO_URI)"])
        .arg("Created-By: Packages")
        .run()
        .await?;
    let mut index = Index::default();
    for line in listing.text().lines() {
        let Some((file, repository)) = line.split_once(' ') else { continue };
        let bytes = fs::read(file).map_err(HostError::file("read", Path::new(file)))?;
        index.add(&String::from_utf8_lossy(&bytes), repository);
    }
    Ok(index)
}

/// With nothing installed, this installs what is essential, and apt itself.
const DIST_UPGRADE: &str = "dist-upgrade";

/// What mmdebstrap installs first, and with the definition's and the kickstart's packages.
struct Variant {
    essential: Vec<String>,
    rest: Vec<String>,
}

impl Variant {
    fn of(ask: &Ask) -> Result<Self, BaseError> {
        let of_suite = |what: &str| {
            let Ask { suite, architecture, .. } = ask;
            format!(
                "?narrow(?or(?archive(^{suite}$),?codename(^{suite}$)),?architecture({architecture}),{what})"
            )
        };
        let essential = of_suite("?essential");
        let priorities = match ask.variant.as_str() {
            "custom" => return Ok(Variant { essential: Vec::new(), rest: ask.include.clone() }),
            "apt" => {
                let essential = vec![DIST_UPGRADE.to_owned()];
                return Ok(Variant { essential, rest: ask.include.clone() });
            }
            "essential" => {
                return Ok(Variant { essential: vec![essential], rest: ask.include.clone() });
            }
            "required" | "minbase" | "buildd" => "?priority(required)",
            "important" | "debootstrap" => "?or(?priority(required),?priority(important))",
            "standard" => "?or(~prequired,~pimportant,~pstandard)",
            other => return Err(unknown(other)),
        };
        let mut rest = ask.include.clone();
        if ask.variant == "buildd" {
            rest.push("build-essential".to_owned());
        }
        rest.push(of_suite(&format!("?and({priorities},?not(?essential))")));
        Ok(Variant { essential: vec![essential], rest })
    }
}

fn unknown(variant: &str) -> BaseError {
    BaseError::Needs(format!(
        "`{variant}` is no package set\n  variants are essential, apt, required, important, standard, buildd and custom, in mmdebstrap's words"
    ))
}
