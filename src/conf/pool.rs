//! What the confs of a herd have in common, once in memory.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use crate::model::{LogsSpec, RestartSpec, ServiceSpec};

/// Values that specs were found to have. A thousand services mostly run a few programs, in a few places, by the same rules.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    texts: HashSet<Arc<str>>,
    restart: HashSet<Arc<RestartSpec>>,
    logs: HashSet<Arc<LogsSpec>>,
}

impl Pool {
    /// Puts what is there already in the place of what says the same. The spec says what it said.
    pub(crate) fn share(&mut self, mut spec: ServiceSpec) -> ServiceSpec {
        let process = &mut spec.process;
        let optional = [&mut process.cwd, &mut process.env_file, &mut process.user, &mut process.group];
        for text in optional.into_iter().flatten().chain([&mut process.cmd]) {
            share(&mut self.texts, text);
        }
        share(&mut self.restart, &mut spec.restart);
        share(&mut self.logs, &mut spec.logs);
        spec
    }
}

fn share<T: Eq + Hash + ?Sized>(known: &mut HashSet<Arc<T>>, value: &mut Arc<T>) {
    match known.get(value) {
        Some(same) => *value = Arc::clone(same),
        None => _ = known.insert(Arc::clone(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_there_once_and_says_the_same() {
        let mut pool = Pool::default();
        let spec = |id: &str, cmd: &str, intensity| {
            let mut spec = ServiceSpec::new(id.parse().unwrap(), cmd);
            spec.process.cwd = Some("/srv".into());
            spec.restart = RestartSpec { intensity, ..RestartSpec::default() }.into();
            spec
        };
        let specs = [spec("a", "x", 5), spec("b", "x", 5), spec("c", "y", 6)];
        let [a, b, c] = specs.clone().map(|spec| pool.share(spec));
        assert_eq!([&a, &b, &c], specs.each_ref());
        assert!(Arc::ptr_eq(&a.process.cmd, &b.process.cmd) && Arc::ptr_eq(&a.restart, &b.restart));
        for (one, other) in [(&a.process.cwd, &b.process.cwd), (&a.process.cwd, &c.process.cwd)] {
            assert!(one.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| Arc::ptr_eq(one, other)));
        }
        assert!(Arc::ptr_eq(&a.logs, &c.logs));
        assert_ne!(a.restart, c.restart);
    }
}
