//! What `install` and `uninstall` say and write, word for word.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::herd::{Done, Ends, Herd, finish, is_root, open_to_others};
use crate::setting_up::Bin;
use crate::settled::Transcript;

/// Eight hexadecimal digits that stand for this daemon's places.
fn digits(text: &str) -> String {
    let (_, after) = text.split_once("daemonherder-").unwrap_or_else(|| panic!("{text}"));
    after[..8].to_owned()
}

#[test]
fn what_is_said_of_a_crontab() {
    let herd = Herd::new();
    let (bin, program, _ends) = (Bin::of(&herd), herd.public_binary(), Ends(&herd));
    // Where systemd runs it knows nothing of this one.
    bin.program("systemctl", "exit 3\n");
    fs::write(bin.0.join("table"), "MAILTO=me\n").unwrap();
    let mut told = Transcript::of(&herd);
    for line in ["install", "install", "install --no-revive", "uninstall", "shutdown", "uninstall"] {
        let mut command = Command::new(&program);
        herd.place(&mut command);
        let done = finish(command.env("PATH", bin.path()).args(line.split(' ')));
        let table = String::from_utf8(bin.table()).unwrap();
        if line == "install" {
            told.know(&digits(&table), "DIGITS");
        }
        told.say(line, &done);
        told.show("crontab", &table);
    }
    insta::assert_snapshot!(told.into_text(), @r###"
    $ daemonherder install
    added to your crontab, to start the daemon with the machine:
      @reboot HERE/daemonherder run --detach --config-dir HERE/confs --state-dir HERE/state # daemonherder-DIGITS: starts with the machine
    added to your crontab, to start it again within a minute when it has gone:
      * * * * * HERE/daemonherder run --detach --config-dir HERE/confs --state-dir HERE/state # daemonherder-DIGITS: comes back within a minute
    the daemon is started: `daemonherder status` shows its services
    exit 0
    (crontab)
    MAILTO=me
    @reboot HERE/daemonherder run --detach --config-dir HERE/confs --state-dir HERE/state # daemonherder-DIGITS: starts with the machine
    * * * * * HERE/daemonherder run --detach --config-dir HERE/confs --state-dir HERE/state # daemonherder-DIGITS: comes back within a minute
    $ daemonherder install
    in your crontab already, to start the daemon with the machine:
      @reboot HERE/daemonherder run --detach --config-dir HERE/confs --state-dir HERE/state # daemonherder-DIGITS: starts with the machine
    in your crontab already, to start it again within a minute when it has gone:
      * * * * * HERE/daemonherder run --detach --config-dir HERE/confs --state-dir HERE/state # daemonherder-DIGITS: comes back within a minute
    a daemon runs already: `daemonherder status` shows its services
    exit 0
    (crontab)
    MAILTO=me
    @reboot HERE/daemonherder run --detach --config-dir HERE/confs --state-dir HERE/state # daemonherder-DIGITS: starts with the machine
    * * * * * HERE/daemonherder run --detach --config-dir HERE/confs --state-dir HERE/state # daemonherder-DIGITS: comes back within a minute
    $ daemonherder install --no-revive
    in your crontab already, to start the daemon with the machine:
      @reboot HERE/daemonherder run --detach --config-dir HERE/confs --state-dir HERE/state # daemonherder-DIGITS: starts with the machine
    taken out of your crontab:
      * * * * * HERE/daemonherder run --detach --config-dir HERE/confs --state-dir HERE/state # daemonherder-DIGITS: comes back within a minute
    a daemon runs already: `daemonherder status` shows its services
    exit 0
    (crontab)
    MAILTO=me
    @reboot HERE/daemonherder run --detach --config-dir HERE/confs --state-dir HERE/state # daemonherder-DIGITS: starts with the machine
    $ daemonherder uninstall
    taken out of your crontab:
      @reboot HERE/daemonherder run --detach --config-dir HERE/confs --state-dir HERE/state # daemonherder-DIGITS: starts with the machine
    the daemon runs on: `daemonherder shutdown` ends it and its services
    exit 0
    (crontab)
    MAILTO=me
    $ daemonherder shutdown
    exit 0
    (crontab)
    MAILTO=me
    $ daemonherder uninstall
    nothing is installed: neither crontab lines nor a unit
    exit 0
    (crontab)
    MAILTO=me
    "###);
}

/// A machine of its own as far as `install` sees it: with an `/etc` that holds little, where systemd runs or does not.
struct Machine<'h> {
    herd: &'h Herd,
    bin: Bin,
    program: PathBuf,
}

impl<'h> Machine<'h> {
    /// None where this can't be had, which it then says.
    fn of(herd: &'h Herd, systemd: bool) -> Option<Self> {
        if !is_root("a machine of its own") {
            return None;
        }
        let (etc, run) = (herd.path().join("etc"), herd.path().join("run"));
        fs::create_dir_all(etc.join("systemd/system")).unwrap();
        fs::create_dir_all(run.join(if systemd { "systemd/system" } else { "other" })).unwrap();
        for name in ["passwd", "group", "nsswitch.conf", "ld.so.cache"] {
            let _ = fs::copy(Path::new("/etc").join(name), etc.join(name));
        }
        let (bin, program) = (Bin::of(herd), herd.public_binary());
        // It knows nothing of this unit.
        bin.program("systemctl", "echo \"$@\" >> \"${0%/*}/told\"\ncase \"$*\" in *is-active*) exit 3 ;; esac\n");
        [bin.0.clone(), herd.path().join("home")].iter().for_each(|directory| open_to_others(directory, 0o777));
        let machine = Self { herd, bin, program };
        let can_be = machine.runs(&["true"]).code == 0;
        if !can_be {
            eprintln!("skipped, for nothing can be mounted: a machine of its own");
        }
        can_be.then_some(machine)
    }

    fn runs(&self, words: &[&str]) -> Done {
        let script = "mount --bind \"$0/etc\" /etc && mount --bind \"$0/run\" /run && exec \"$@\"";
        let mut command = Command::new("unshare");
        self.herd.place(&mut command);
        command.env("PATH", format!("{}:/usr/sbin:/sbin", self.bin.path()));
        finish(command.args(["-m", "sh", "-c", script]).arg(self.herd.path()).args(words))
    }

    /// Runs a verb through words that say as whom.
    fn verb(&self, told: &mut Transcript, through: &[&str], line: &str) -> Done {
        let words = through.iter().copied().chain([self.program.to_str().unwrap()]).chain(line.split(' '));
        let done = self.runs(&words.collect::<Vec<_>>());
        told.say(line, &done);
        done
    }

    fn told(&self) -> String {
        fs::read_to_string(self.bin.0.join("told")).unwrap_or_default()
    }
}

/// The one unit in a directory.
fn unit(directory: &Path) -> String {
    let names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [path] = &names[..] else { panic!("{names:?}") };
    fs::read_to_string(path).unwrap()
}

#[test]
fn what_is_said_of_a_unit_of_the_machine() {
    let mut herd = Herd::new();
    herd.start();
    let Some(machine) = Machine::of(&herd, true) else { return };
    let mut told = Transcript::of(&herd);
    let done = machine.runs(&[machine.program.to_str().unwrap(), "install", "--systemd", "--no-revive"]);
    told.know(&digits(&done.out), "DIGITS");
    told.say("install --systemd --no-revive", &done);
    told.show("the unit", &unit(&herd.path().join("etc/systemd/system")));
    for line in ["install --systemd", "install --systemd", "install", "uninstall", "uninstall"] {
        machine.verb(&mut told, &[], line);
    }
    told.show("what systemctl was told", &machine.told());
    assert_eq!(fs::read_dir(herd.path().join("etc/systemd/system")).unwrap().count(), 0);
    insta::assert_snapshot!(told.into_text());
}

#[test]
fn what_is_said_of_a_unit_of_ones_own_where_no_systemd_runs() {
    let herd = Herd::new();
    let Some(machine) = Machine::of(&herd, false) else { return };
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let mut told = Transcript::of(&herd);
    let home = herd.path().join("home/.config/systemd/user");
    let done = machine.runs(&[&nobody[..], &[machine.program.to_str().unwrap(), "install", "--systemd"]].concat());
    told.know(&digits(&done.out), "DIGITS");
    told.say("install --systemd", &done);
    told.show("the unit", &unit(&home));
    for line in ["install --systemd", "install", "uninstall", "uninstall"] {
        machine.verb(&mut told, &nobody, line);
    }
    assert_eq!((fs::read_dir(home).unwrap().count(), machine.told()), (0, String::new()));
    insta::assert_snapshot!(told.into_text());
}
