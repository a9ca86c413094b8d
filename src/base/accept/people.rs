//! Accounts: root's password, users, ssh keys.

use sha_crypt::{PasswordHasher, ShaCrypt};
use sha2::{Digest as _, Sha256};

use crate::kickstart::{Password, User};

use super::super::spec::{Account, Key, Lined, NewUser};
use super::Reader;

impl Reader<'_> {
    pub(super) fn rootpw(&mut self, password: Option<&Password>, lock: bool) {
        self.wishes.root = Some(self.account("root", password, lock));
    }

    pub(super) fn user(&mut self, line: u32, user: &User) {
        self.account_words(line, user);
        let groups = user.groups.iter().map(|g| self.definition.groups.get(g).unwrap_or(g).clone());
        let value = NewUser {
            name: user.name.clone(),
            gecos: user.gecos.clone(),
            groups: groups.collect(),
            home: user.homedir.clone(),
            shell: user.shell.clone().unwrap_or_else(|| "/bin/bash".to_owned()),
            uid: user.uid,
            gid: user.gid,
            account: self.account(&user.name, user.password.as_ref(), user.lock),
        };
        self.wishes.users.push(Lined { line, value });
    }

    fn account_words(&mut self, line: u32, user: &User) {
        for name in std::iter::once(&user.name).chain(&user.groups) {
            if !is_login_name(name) {
                let help = "a small letter or `_`, then small letters, digits, `_` and `-`";
                self.fault(line, format!("`{name}` is not a user or group name"), help);
            }
        }
        for path in [&user.homedir, &user.shell].into_iter().flatten() {
            if !path.starts_with('/') || path.contains([':', '\n']) {
                self.fault(line, format!("`{path}` is not an absolute path"), "");
            }
        }
        if user.gecos.as_deref().is_some_and(|g| g.contains([':', '\n'])) {
            self.fault(line, "--gecos must not hold a colon", "");
        }
    }

    pub(super) fn sshkey(&mut self, line: u32, user: &str, key: &str) {
        if !is_login_name(user) {
            self.fault(line, format!("`{user}` is not a user name"), "");
        }
        if key.split_whitespace().count() < 2 || key.contains('\n') {
            let help = "type, base64 and comment in quotes, as in the .pub file";
            self.fault(line, "this is not an ssh public key", help);
        }
        let value = Key { user: user.to_owned(), key: key.to_owned() };
        self.wishes.keys.push(Lined { line, value });
    }

    fn account(&self, user: &str, password: Option<&Password>, lock: bool) -> Account {
        let hash = password.map(|p| match p {
            Password::Plain(text) => hash_password(&self.request.salt, user, text),
            Password::Crypted(hash) => hash.clone(),
        });
        Account { hash, lock }
    }
}

fn is_login_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
}

/// SHA-512 crypt with a salt that follows from who the password is for: the same bytes every
/// time, and no two accounts alike.
fn hash_password(salt: &str, user: &str, password: &str) -> String {
    let seed = Sha256::digest(format!("{salt}\0{user}"));
    match ShaCrypt::SHA512.hash_password_with_salt(password.as_bytes(), &seed[..12]) {
        Ok(hash) => hash.as_str().to_owned(),
        // The only refusals are of salts, and this one is always well-formed; a locked account
        // is the safe answer to the impossible.
        Err(_) => "!".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use sha_crypt::PasswordVerifier;

    #[test]
    fn a_hash_is_the_same_every_time_and_differs_by_account() {
        let one = hash_password("lab/controller", "root", "secret");
        assert_eq!(one, hash_password("lab/controller", "root", "secret"));
        assert_ne!(one, hash_password("lab/compute1", "root", "secret"));
        assert_ne!(one, hash_password("lab/controller", "alice", "secret"));
        assert!(one.starts_with("$6$"), "{one}");
        ShaCrypt::default().verify_password(b"secret", one.as_str()).unwrap();
        assert!(ShaCrypt::default().verify_password(b"Secret", one.as_str()).is_err());
    }
}
