//! What a herder finds of an earlier life: what its keeper remembers, and where that is a fresh one, what the journal of
//! notes says.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::inherit::{Inheritance, Inherited};
use super::notes::{Header, Kept, Recalled, Text};
use crate::model::{Origin, ServiceId};

impl Inheritance {
    /// Adds what the journal says of this boot and the keeper does not know.
    pub(crate) fn complete(&mut self, recalled: Recalled, today: &Header) {
        let mut told: BTreeMap<ServiceId, Kept> = recalled.services;
        told.retain(|_, kept| *kept.header == *today);
        for service in &mut self.services {
            if let (true, Some(kept)) = (service.note.is_empty(), told.remove(&service.service)) {
                service.note = kept.note;
                service.origin = origin(kept.conf.as_deref());
            }
        }
        if self.answered {
            // What this keeper does not know has left the herd, and the journal had no time to say so.
            return;
        }
        self.services.extend(
            told.into_iter()
                .filter(|(id, _)| !self.knows(id))
                .map(|(service, kept)| Inherited {
                    service,
                    note: kept.note,
                    origin: origin(kept.conf.as_deref()),
                    runs: Vec::new(),
                    restarts: None,
                    kept: false,
                })
                .collect::<Vec<_>>(),
        );
    }

    fn knows(&self, id: &ServiceId) -> bool {
        self.services.iter().any(|known| known.service == *id)
    }
}

/// The texts of a conf as the journal keeps them: the spec's own, and no copies of them.
pub(super) fn texts(origin: &Origin) -> Text {
    let settings = Some(&origin.settings).filter(|settings| !settings.is_empty());
    Text::new(Arc::clone(&origin.conf).into(), settings.map(|settings| Arc::clone(settings).into()))
}

fn origin(texts: Option<&[u8]>) -> Origin {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into();
    let Some(texts) = texts else { return Origin::default() };
    let (conf, settings) = Text::parts(texts);
    Origin { conf: text(conf), settings: text(settings.unwrap_or_default()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_back_as_they_were_kept() {
        for (conf, settings) in [("{}", ""), ("{\"cmd\":\"ä\"}", "{\"env\":{}}"), ("", ""), ("", "x")] {
            let kept = Origin { conf: conf.into(), settings: settings.into() };
            let read = origin(Some(&texts(&kept).joined()));
            assert_eq!((&*read.conf, &*read.settings), (conf, settings));
        }
    }
}
