//! A process that holds secrets leaves no image of its memory behind.

use crate::settings::Settings;
use rlimit::Resource;
use tracing::warn;

/// The system writes no file of one byte, and hands a dump to no program at this limit. At 0 it hands it over.
const NONE: u64 = 1;

/// From now on a crash leaves no core dump, if these settings name a secret.
pub(crate) fn forbid(settings: &Settings) {
    let trust = &settings.trust;
    let holds_secrets =
        trust.key.is_some() || trust.secret.is_some() || trust.secret_file.is_some() || settings.access.is_some();
    if !holds_secrets {
        return;
    }
    let forbidden = Resource::CORE.get().and_then(|(_, hard)| Resource::CORE.set(NONE.min(hard), hard));
    if let Err(error) = forbidden {
        warn!(%error, "a crash may leave a core dump, which holds secrets");
    }
}
