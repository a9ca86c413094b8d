#![allow(clippy::unwrap_used)]

use super::*;

fn section(name: &str, keys: &[(&str, Option<&str>)]) -> IniSection {
    let keys = keys.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect();
    IniSection { name: name.to_owned(), keys }
}

fn set(text: &str, name: &str, keys: &[(&str, Option<&str>)]) -> String {
    let wanted = [section(name, keys)];
    let once = edit(text, &wanted);
    assert_eq!(edit(&once, &wanted), once, "a second edit changes nothing");
    once
}

/// As a packaged glance-api.conf looks: documentation, defaults commented out.
const GLANCE: &str = "\
[DEFAULT]

#
# From glance.api
#

# Set to true if owner is tenant. (boolean value)
#owner_is_tenant = true


[database]

#
# From oslo.db
#

# The SQLAlchemy connection string to use to connect to the database,
# for instance connection = sqlite:///x. (string value)
# Deprecated group/name - [DEFAULT]/sql_connection
#connection = <None>

# The SQLAlchemy connection string of the slave. (string value)
#slave_connection = <None>


[glance_store]

# List of stores enabled. (list value)
#stores = file,http

# Directory to which the filesystem backend store writes images.
#filesystem_store_datadir = /var/lib/glance/images


[keystone_authtoken]

# Complete public Identity API endpoint. (string value)
#auth_uri = <None>

# Host of memcached (list value)
# Deprecated group/name - [keystone_authtoken]/memcache_servers
#memcached_servers = <None>

# Authentication type to load (string value)
#auth_type = <None>


[paste_deploy]

# Deployment flavor to use in the server application pipeline.
#flavor = keystone
";

#[test]
fn glance_as_the_install_guide_wants_it() {
    let wanted = [
        section(
            "database",
            &[("connection", Some("mysql+pymysql://glance:glance@controller/glance"))],
        ),
        section(
            "keystone_authtoken",
            &[
                ("auth_uri", Some("http://controller:5000")),
                ("auth_url", Some("http://controller:35357")),
                ("memcached_servers", Some("controller:11211")),
                ("auth_type", Some("password")),
                ("project_domain_name", Some("default")),
                ("username", Some("glance")),
                ("password", Some("11111")),
            ],
        ),
        section("paste_deploy", &[("flavor", Some("keystone"))]),
        section("glance_store", &[("stores", Some("file,http")), ("default_store", Some("file"))]),
        section("oslo_policy", &[("policy_file", Some("policy.yaml"))]),
    ];
    let text = edit(GLANCE, &wanted);
    assert_eq!(edit(&text, &wanted), text);
    insta::assert_snapshot!(text);
    // Nothing of the documentation is lost or moved.
    let added = |line: &&str| !GLANCE.lines().any(|old| old == *line);
    let kept: Vec<&str> = text.lines().filter(|line| !added(line)).collect();
    let old: Vec<&str> = GLANCE.lines().collect();
    assert_eq!(kept[..old.len()], old);
}

#[test]
fn keystone_without_its_comments() {
    let listing = "[DEFAULT]\n[assignment]\n[cache]\n[database]\n[token]\n";
    let text = set(listing, "database", &[("connection", Some("mysql+pymysql://k:k@c/keystone"))]);
    let text = set(&text, "token", &[("provider", Some("fernet"))]);
    insta::assert_snapshot!(text, @r"
    [DEFAULT]
    [assignment]
    [cache]
    [database]
    connection = mysql+pymysql://k:k@c/keystone
    [token]
    provider = fernet
    ");
}

#[test]
fn a_key_is_set_where_it_stands_in_its_own_spacing() {
    let text = "[a]\nx=1\ny  :  2 ; part of it\nz =\n[b]\nx=1\n";
    let text = set(text, "a", &[("x", Some("7")), ("y", Some("8")), ("z", Some("9"))]);
    assert_eq!(text, "[a]\nx=7\ny  :  8\nz = 9\n[b]\nx=1\n");
}

#[test]
fn values_keep_their_signs() {
    let value = "mysql://u:p=w@h/x?a=b;c#d";
    assert_eq!(set("[a]\nk = 1\n", "a", &[("k", Some(value))]), format!("[a]\nk = {value}\n"));
}

#[test]
fn several_lines_of_one_key() {
    let text = "[a]\nk = 1\nother = x\nk = 2\n";
    assert_eq!(set(text, "a", &[("k", Some("9"))]), "[a]\nk = 9\nother = x\n");
    let two = [("k", Some("8")), ("k", Some("9"))];
    assert_eq!(set(text, "a", &two), "[a]\nk = 8\nother = x\nk = 9\n");
    let three = [("k", Some("7")), ("k", Some("8")), ("k", Some("9"))];
    assert_eq!(set(text, "a", &three), "[a]\nk = 7\nk = 8\nk = 9\nother = x\n");
}

#[test]
fn a_key_that_nothing_documents_stands_below_the_one_named_before_it() {
    let text = "[a]\n#x = 0\n#y = 0\n#z = 0\n[b]\n";
    let keys = [("x", Some("1")), ("new", Some("2")), ("newer", Some("3")), ("z", Some("4"))];
    let expected = "[a]\n#x = 0\nx = 1\nnew = 2\nnewer = 3\n#y = 0\n#z = 0\nz = 4\n[b]\n";
    assert_eq!(set(text, "a", &keys), expected);
    assert_eq!(set(expected, "a", &keys), expected);
    // A key that goes has no place for its neighbour.
    let keys = [("x", None), ("new", Some("2"))];
    assert_eq!(set("[a]\nx = 1\ny = 2\n", "a", &keys), "[a]\ny = 2\nnew = 2\n");
}

#[test]
fn several_sections_of_one_name() {
    let text = "[a]\nx = 1\n[b]\n[a]\ny = 2\n#z = 0\n";
    let keys = [("w", Some("5")), ("y", Some("3")), ("z", Some("4"))];
    let expected = "[a]\nx = 1\nw = 5\n[b]\n[a]\ny = 3\n#z = 0\nz = 4\n";
    assert_eq!(set(text, "a", &keys), expected);
}

#[test]
fn continued_values_are_one_value() {
    let text = "[a]\nk = one,\n    two,\n\tthree\nnext = 1\n";
    assert_eq!(set(text, "a", &[("k", Some("x"))]), "[a]\nk = x\nnext = 1\n");
    assert_eq!(set(text, "a", &[("k", None)]), "[a]\nnext = 1\n");
    let whole = Some("one,\ntwo,\nthree");
    assert_eq!(set(text, "a", &[("k", whole)]), text, "the same value is left as it stands");
    assert_eq!(set("[a]\n", "a", &[("k", whole)]), "[a]\nk = one,\n    two,\n    three\n");
}

#[test]
fn an_indented_section_is_not_one_long_value() {
    let text = "[core]\n\tbare = false\n\tmode = true\n";
    let expected = "[core]\n\tbare = false\n\tmode = no\n\tnew = 1\n";
    assert_eq!(set(text, "core", &[("mode", Some("no")), ("new", Some("1"))]), expected);
}

#[test]
fn removing_takes_every_line_of_the_key_and_no_comment() {
    let text = "[a]\n# k = about k\n#k = 0\nk = 1\n[b]\nk = 2\n[a]\nk=3\n";
    assert_eq!(set(text, "a", &[("k", None)]), "[a]\n# k = about k\n#k = 0\n[b]\nk = 2\n[a]\n");
    assert_eq!(set(text, "c", &[("k", None)]), text, "no section is made to remove from it");
}

#[test]
fn a_new_section_comes_last_after_a_blank_line() {
    assert_eq!(set("", "a", &[("k", Some("v"))]), "[a]\nk = v\n");
    assert_eq!(set("[x]\ny = 1", "a", &[("k", Some("v"))]), "[x]\ny = 1\n\n[a]\nk = v\n");
    assert_eq!(set("[x]\n\n", "a", &[("k", Some("v"))]), "[x]\n\n[a]\nk = v\n");
}

#[test]
fn a_section_ends_before_blank_lines_and_the_next_ones_heading() {
    let text = "[a]\nx=1\n# about x\n\n\n# ---- b ----\n[b]\n";
    let expected = "[a]\nx=1\n# about x\nk=v\n\n\n# ---- b ----\n[b]\n";
    assert_eq!(set(text, "a", &[("k", Some("v"))]), expected);
}

#[test]
fn line_ends_stay() {
    let text = "[a]\r\nx=1\r\n[b]\r\n";
    assert_eq!(set(text, "a", &[("k", Some("v"))]), "[a]\r\nx=1\r\nk=v\r\n[b]\r\n");
    assert_eq!(set("[a]\nx=1", "a", &[("x", Some("2"))]), "[a]\nx=2");
}

#[test]
fn keys_before_any_section() {
    let text = "# head\nlang = de\n\n[a]\nlang = en\n";
    assert_eq!(set(text, "DEFAULT", &[("lang", Some("fr"))]), text.replace("de", "fr"));
    let expected = "# head\nlang = de\nzone = utc\n\n[a]\nlang = en\n";
    assert_eq!(set(text, "", &[("zone", Some("utc"))]), expected);
    assert_eq!(set("", "", &[("k", Some("v"))]), "k = v\n");
}

#[test]
fn bare_keys_as_mysql_has_them() {
    let text = "[mysqld]\nskip-name-resolve\nbind-address\t= 127.0.0.1\n";
    let keys = [("bind-address", Some("172.16.251.11")), ("skip-name-resolve", None)];
    assert_eq!(set(text, "mysqld", &keys), "[mysqld]\nbind-address\t= 172.16.251.11\n");
}

#[test]
fn broken_files_are_not_broken_further() {
    let text = "[unclosed\n= no key\n]\n[a]\n";
    assert_eq!(set(text, "a", &[("k", Some("v"))]), format!("{text}k = v\n"));
}
