//! Broken kickstarts, each with everything that is said about it.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use labbuild::kickstart::read;

fn file(name: &str) -> Result<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    std::fs::read_to_string(path).map_err(|_| "there is no such file".to_owned())
}

/// All that is said about `tests/kickstarts/<name>.ks`.
fn complaints(name: &str) -> String {
    let name = format!("kickstarts/{name}.ks");
    let text = file(&name).unwrap();
    let reading = read(&text, &name, &mut |included| file(included));
    reading.for_bootstrap().unwrap_err().to_string()
}

macro_rules! broken {
    ($($test:ident: $name:literal;)*) => {
        $(
            #[test]
            fn $test() {
                insta::assert_snapshot!($name, complaints($name));
            }
        )*

        #[test]
        fn every_file_is_looked_at() {
            let mut named = vec![$(concat!($name, ".ks").to_owned(),)*];
            // Taken in by `includes.ks`.
            named.extend(["part-with-faults.ks".to_owned(), "ring.ks".to_owned()]);
            named.sort();
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kickstarts");
            let mut there: Vec<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.ends_with(".ks"))
                .collect();
            there.sort();
            assert_eq!(there, named);
        }
    };
}

broken! {
    autopart_beside_part: "autopart";
    two_displays_and_two_ends: "display";
    nothing_at_all: "empty";
    included_files: "includes";
    addresses_that_cannot_be: "network-static";
    interfaces_and_names_twice: "network-twice";
    packages_in_and_out: "packages";
    sizes_and_mount_points: "partitions";
    users_and_their_keys: "people";
    quotes_and_backslashes: "quoting";
    passwords: "rootpw";
    sections_left_open: "sections";
    services_on_and_off: "services";
    where_packages_come_from: "sources";
    misspelt: "spelling";
    known_but_not_here: "unsupported";
}
