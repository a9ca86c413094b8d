//! Users, passwords and keys, through the tree's own tools and only over their standard input
//! where a hash is concerned.

use crate::host::HostError;

use super::super::spec::{Account, Key, Lined, NewUser};
use super::{Tree, TreeError, complaint};

impl Tree<'_> {
    pub(super) async fn accounts(&mut self) -> Result<(), TreeError> {
        let wishes = &self.spec.wishes;
        if let Some(account) = &wishes.root {
            self.account("root", account).await?;
        }
        for user in &wishes.users {
            self.user(user).await?;
        }
        for key in &wishes.keys {
            self.key(key)?;
        }
        Ok(())
    }

    async fn user(&self, user: &Lined<NewUser>) -> Result<(), TreeError> {
        let Lined { line, value } = user;
        self.groups(value).await?;
        let mut command = self.chroot("useradd").args(["--create-home", "--shell", &value.shell]);
        let gid = value.gid.map(|g| g.to_string());
        let uid = value.uid.map(|u| u.to_string());
        let options = [
            ("--comment", value.gecos.as_deref()),
            ("--home-dir", value.home.as_deref()),
            ("--uid", uid.as_deref()),
            ("--gid", gid.as_deref()),
        ];
        for (option, text) in options {
            command = command.args(text.into_iter().flat_map(|t| [option, t]));
        }
        if !value.groups.is_empty() {
            command = command.args(["--groups", &value.groups.join(",")]);
        }
        command.args(["--", &value.name]).run().await.map_err(|e| refused(*line, &e))?;
        Ok(self.account(&value.name, &value.account).await?)
    }

    /// Groups that do not exist yet are made, as Anaconda does.
    async fn groups(&self, user: &NewUser) -> Result<(), HostError> {
        let text = self.root.read_text("etc/group")?;
        let known = |name: &str| text.lines().any(|l| l.split(':').next() == Some(name));
        for name in user.groups.iter().filter(|g| !known(g)) {
            self.chroot("groupadd").args(["--", name]).run().await?;
        }
        if let Some(gid) = user.gid {
            let gid = gid.to_string();
            if !text.lines().any(|l| l.split(':').nth(2) == Some(&gid)) {
                self.chroot("groupadd").args(["--gid", &gid, "--", &user.name]).run().await?;
            }
        }
        Ok(())
    }

    async fn account(&self, name: &str, account: &Account) -> Result<(), HostError> {
        if let Some(hash) = &account.hash {
            let input = format!("{name}:{hash}\n");
            self.chroot("chpasswd").arg("--encrypted").stdin(input).run().await?;
        }
        if account.lock {
            self.chroot("usermod").args(["--lock", "--", name]).run().await?;
        }
        Ok(())
    }

    fn key(&self, key: &Lined<Key>) -> Result<(), TreeError> {
        let Key { user, key: text } = &key.value;
        let passwd = self.root.read_text("etc/passwd")?;
        let entry = passwd.lines().map(|l| l.split(':').collect::<Vec<_>>());
        let entry = entry.into_iter().find(|f| f.first() == Some(&user.as_str()));
        let numbers =
            entry.as_ref().and_then(|f| Some((f.get(2)?.parse().ok()?, f.get(3)?.parse().ok()?)));
        let (Some((uid, gid)), Some(home)) = (numbers, entry.as_ref().and_then(|f| f.get(5)))
        else {
            let message = format!("sshkey names the user `{user}`, who does not exist");
            return Err(TreeError::Complaints(vec![complaint(
                key.line,
                message,
                "a `user` line above makes one",
            )]));
        };
        let dir = format!("{home}/.ssh");
        let file = format!("{dir}/authorized_keys");
        self.root.create_dir(&dir)?;
        let before = self.root.read_text(&file)?;
        self.root.write(&file, format!("{before}{text}\n").as_bytes(), 0o600)?;
        self.root.set_mode(&dir, 0o700)?;
        self.root.give(&dir, uid, gid)?;
        self.root.give(&file, uid, gid)?;
        Ok(())
    }
}

fn refused(line: u32, error: &HostError) -> TreeError {
    let message = match error {
        HostError::Failed { stderr, .. } => stderr.trim().to_owned(),
        other => other.to_string(),
    };
    TreeError::Complaints(vec![complaint(line, message, "")])
}
