//! A recipe of a stranger takes nothing into a machine but what is its own: links that lead from
//! its kickstarts and base definitions to other files of the reader's are refused by name.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use labbuild::plan::Plan;

const LAB: &str = "\
schema: 1
name: links
title: Links
base: debian-12
stages: [10-all.yaml]
networks:
  bridged: { kind: bridged, subnet: 192.168.0.0/24, gateway: 192.168.0.1 }
machines:
  one:
    memory: 1 GiB
    disk: 10 GiB
    kickstart: one.ks
    nics: [{ name: ens33, network: bridged, address: 192.168.0.11 }]
";

const STAGE: &str = "title: All\nsteps: [{ name: Nothing, machine: one, run: 'true' }]\n";
const PRIVATE: &str = "rootpw private-words\n";
const KICKSTART: &str = "lang en_US.UTF-8\nkeyboard us\ntimezone Etc/UTC --utc\nrootpw secret\n\
                         clearpart --all\npart / --size=1 --grow\n%packages\n%end\n";

/// A recipe in a repository of its own, and a private file outside of it.
struct Ground {
    root: tempfile::TempDir,
}

impl Ground {
    fn new() -> Ground {
        let ground = Ground { root: tempfile::tempdir().unwrap() };
        ground.write("private.ks", PRIVATE);
        ground.write("repository/lab/lab.yaml", LAB);
        ground.write("repository/lab/10-all.yaml", STAGE);
        ground.write("repository/kickstart/one.ks", KICKSTART);
        let definition = fs::read_to_string("images/debian-12.yaml").unwrap();
        ground.write("repository/images/debian-12.yaml", &definition);
        ground
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), text).unwrap();
    }

    /// Puts a link in the place of a file.
    fn link(&self, to: impl AsRef<Path>, at: &str) {
        let _ = fs::remove_file(self.at(at));
        fs::create_dir_all(self.at(at).parent().unwrap()).unwrap();
        symlink(to, self.at(at)).unwrap();
    }

    fn plan(&self) -> Result<Plan, String> {
        Plan::load(&self.at("repository/lab"), &BTreeMap::new()).map_err(|e| e.to_string())
    }

    /// What is said when it cannot be planned; nothing of the private file is in it.
    fn refused(&self) -> String {
        let said = self.plan().unwrap_err();
        assert!(!said.contains("private-words"), "{said}");
        said
    }
}

#[test]
fn the_recipe_these_tests_begin_with_has_no_faults() {
    Ground::new().plan().unwrap();
}

#[test]
fn a_kickstart_is_not_linked_from_elsewhere() {
    let ground = Ground::new();
    ground.link("../../private.ks", "repository/kickstart/one.ks");
    let said = ground.refused();
    assert!(said.contains("lab.yaml:12:16: a link leads from `one.ks` out of"), "{said}");
    // By its full name, and from the recipe's own folder.
    ground.link(ground.at("private.ks"), "repository/lab/kickstart/one.ks");
    let said = ground.refused();
    assert!(said.contains("lab.yaml:12:16: a link leads from `one.ks` out of"), "{said}");
}

#[test]
fn a_template_includes_nothing_that_is_linked_from_elsewhere() {
    for include in ["{% include \"part.ks\" %}", "%include part.ks"] {
        let ground = Ground::new();
        let text = format!("lang en_US.UTF-8\n{include}\n{KICKSTART}");
        ground.write("repository/kickstart/one.ks", &text);
        ground.link("../../private.ks", "repository/kickstart/part.ks");
        let said = ground.refused();
        assert!(said.contains("one.ks:2:"), "{said}");
        assert!(said.contains("a link leads from `part.ks` out of"), "{said}");
    }
}

#[test]
fn a_folder_of_kickstarts_is_not_linked_from_elsewhere() {
    let ground = Ground::new();
    ground.write("elsewhere/one.ks", PRIVATE);
    ground.link("../../elsewhere", "repository/lab/kickstart");
    let said = ground.refused();
    assert!(said.contains("a link leads from `one.ks` out of"), "{said}");
}

#[test]
fn a_base_definition_is_not_linked_from_elsewhere() {
    let ground = Ground::new();
    fs::rename(ground.at("repository/images/debian-12.yaml"), ground.at("mine.yaml")).unwrap();
    ground.link("../../mine.yaml", "repository/images/debian-12.yaml");
    let said = ground.refused();
    assert!(said.contains("lab.yaml:9:"), "{said}");
    assert!(said.contains("machine one: a link leads from `debian-12.yaml` out of"), "{said}");
}

#[test]
fn links_within_the_folders_are_followed() {
    let ground = Ground::new();
    ground.write("repository/kickstart/text/real.ks", KICKSTART);
    ground.link("text/real.ks", "repository/kickstart/one.ks");
    let real = ground.at("repository/images/bookworm.yaml");
    fs::rename(ground.at("repository/images/debian-12.yaml"), real).unwrap();
    ground.link("bookworm.yaml", "repository/images/debian-12.yaml");
    let plan = ground.plan().unwrap();
    assert_eq!(plan.machines[0].kickstart.as_ref().unwrap().text, KICKSTART);
}
