//! The `ini` steps of `recipes/openstack-pike` on the files of that release: what comes out is what
//! the notes list, and every key is one that the release knows. `tests/pike/README.md` says where
//! the files come from.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use labbuild::recipe::{self, Action, IniSection, Lab};
use labbuild::steps::ini;

/// `grep -v ^# /etc/glance/glance-api.conf | grep -v ^$`, section 4.2 of the notes.
const GLANCE_API: &str = "\
[DEFAULT]
[cors]
[database]
connection = mysql+pymysql://glance:glance@controller/glance
[glance_store]
stores = file,http
default_store = file
filesystem_store_datadir = /var/lib/glance/images
[image_format]
[keystone_authtoken]
auth_uri = http://controller:5000
auth_url = http://controller:35357
memcached_servers = controller:11211
auth_type = password
project_domain_name = default
user_domain_name = default
project_name = service
username = glance
password = 11111
[matchmaker_redis]
[oslo_concurrency]
[oslo_messaging_amqp]
[oslo_messaging_kafka]
[oslo_messaging_notifications]
[oslo_messaging_rabbit]
[oslo_messaging_zmq]
[oslo_middleware]
[oslo_policy]
[paste_deploy]
flavor = keystone
[profiler]
[store_type_location_strategy]
[task]
[taskflow_executor]
";

/// The same of /etc/glance/glance-registry.conf.
const GLANCE_REGISTRY: &str = "\
[DEFAULT]
[database]
connection = mysql+pymysql://glance:glance@controller/glance
[keystone_authtoken]
auth_uri = http://controller:5000
auth_url = http://controller:35357
memcached_servers = controller:11211
auth_type = password
project_domain_name = default
user_domain_name = default
project_name = service
username = glance
password = 11111
[matchmaker_redis]
[oslo_messaging_amqp]
[oslo_messaging_kafka]
[oslo_messaging_notifications]
[oslo_messaging_rabbit]
[oslo_messaging_zmq]
[oslo_policy]
[paste_deploy]
flavor = keystone
[profiler]
";

fn pike() -> Lab {
    let lab = recipe::load(Path::new("recipes/openstack-pike"), &BTreeMap::new());
    lab.unwrap_or_else(|e| panic!("{e}"))
}

/// What the steps of the recipe set in a file, in their order.
fn set_in<'a>(lab: &'a Lab, file: &str) -> Vec<&'a [IniSection]> {
    let steps = lab.stages.iter().flat_map(|stage| &stage.steps);
    let set = steps.filter_map(|step| match &step.action {
        Action::Ini { path, set } if path == file => Some(set.as_slice()),
        _ => None,
    });
    set.collect()
}

/// A fresh package's file: sections and commented-out defaults on their lines, comments elsewhere.
fn fresh(name: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let text = fs::read_to_string(format!("tests/pike/{name}.lines")).unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (number, line) = line.split_once(' ').unwrap();
        lines.resize(number.parse::<usize>().unwrap() - 1, "# Text for people.");
        lines.push(line);
    }
    lines.join("\n") + "\n"
}

/// `grep -v ^# | grep -v ^$`.
fn listing(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| format!("{line}\n")).collect()
}

fn configured(lab: &Lab, name: &str) -> String {
    let steps = set_in(lab, &format!("/etc/glance/{name}.conf"));
    assert_eq!(steps.len(), 1, "{name}");
    steps.iter().fold(fresh(name), |text, set| ini::edit(&text, set))
}

#[test]
fn glances_files_become_those_that_the_notes_list() {
    let lab = pike();
    assert_eq!(listing(&configured(&lab, "glance-api")), GLANCE_API);
    assert_eq!(listing(&configured(&lab, "glance-registry")), GLANCE_REGISTRY);
}

/// The notes' diff of glance-api.conf says on which lines of the fresh file things stand; behind
/// [keystone_authtoken] they count the nine lines that they have added there.
#[test]
fn the_fresh_file_is_the_one_that_the_notes_began_with() {
    let text = fresh("glance-api");
    let lines: Vec<&str> = text.lines().collect();
    for (number, line) in [
        (1805, "[database]"),
        (1823, "#connection = <None>"),
        (1916, "[glance_store]"),
        (1943, "#stores = file,http"),
        (1975, "#default_store = file"),
        (2294, "#filesystem_store_datadir = /var/lib/glance/images"),
        (3283, "[keystone_authtoken]"),
        (4210 - 9, "[paste_deploy]"),
        (4235 - 9, "#flavor = keystone"),
    ] {
        assert_eq!(lines[number - 1], line, "line {number}");
    }
}

#[test]
fn what_is_set_stands_where_the_file_documents_it() {
    let text = configured(&pike(), "glance-api");
    for (default, set) in [
        ("#connection = <None>", "connection = mysql+pymysql://glance:glance@controller/glance"),
        ("#stores = file,http", "stores = file,http"),
        ("#flavor = keystone", "flavor = keystone"),
    ] {
        assert!(text.contains(&format!("{default}\n{set}\n")), "{set}");
    }
}

/// Options by section. Sections are told apart without regard to case, as oslo.config does.
type Options = BTreeMap<String, BTreeSet<String>>;

fn options(name: &str) -> Options {
    let text = fs::read_to_string(format!("tests/pike/{name}.options")).unwrap();
    let mut options = Options::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (section, names) = line.split_once(':').unwrap();
        let names = names.split_whitespace().map(str::to_owned);
        options.entry(section.to_lowercase()).or_default().extend(names);
    }
    options
}

/// Keys that the release does not know in that section.
fn unknown(sections: &[IniSection], options: &Options) -> Vec<String> {
    let mut unknown = Vec::new();
    for section in sections {
        let known = options.get(&section.name.to_lowercase());
        let keys = section.keys.iter().map(|(key, _)| key);
        let strange = keys.filter(|key| !known.is_some_and(|known| known.contains(*key)));
        unknown.extend(strange.map(|key| format!("[{}] {key}", section.name)));
    }
    unknown
}

#[test]
fn every_option_that_is_set_is_one_of_the_release() {
    let lab = pike();
    let files = [
        ("/etc/keystone/keystone.conf", "keystone"),
        ("/etc/glance/glance-api.conf", "glance-api"),
        ("/etc/glance/glance-registry.conf", "glance-registry"),
        ("/etc/nova/nova.conf", "nova"),
        ("/etc/neutron/neutron.conf", "neutron"),
        ("/etc/neutron/plugins/ml2/ml2_conf.ini", "neutron"),
        ("/etc/neutron/plugins/ml2/linuxbridge_agent.ini", "neutron"),
        ("/etc/neutron/dhcp_agent.ini", "neutron"),
        ("/etc/neutron/metadata_agent.ini", "neutron"),
    ];
    let mut judged = BTreeSet::from(["/etc/my.cnf.d/openstack.cnf"]);
    for (file, release) in files {
        let steps = set_in(&lab, file);
        assert!(!steps.is_empty(), "no step sets anything in {file}");
        let options = options(release);
        for set in steps {
            assert_eq!(unknown(set, &options), Vec::<String>::new(), "{file}");
        }
        judged.insert(file);
    }
    for action in lab.stages.iter().flat_map(|stage| &stage.steps).map(|step| &step.action) {
        if let Action::Ini { path, .. } = action {
            assert!(judged.contains(path.as_str()), "nobody judges {path}");
        }
    }
}

/// What the next release renamed is not known to this one, so that a list cannot be one of another.
#[test]
fn options_of_later_releases_are_unknown() {
    for (release, section, key) in [
        ("glance-api", "keystone_authtoken", "www_authenticate_uri"),
        ("nova", "vnc", "server_listen"),
        ("nova", "placement", "region_name"),
        ("neutron", "experimental", "linuxbridge"),
    ] {
        let keys = vec![(key.to_owned(), Some(String::new()))];
        let set = [IniSection { name: section.to_owned(), keys }];
        assert_eq!(unknown(&set, &options(release)), [format!("[{section}] {key}")], "{release}");
    }
}
