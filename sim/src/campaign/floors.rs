//! How much adversity so many schedules of a profile must have: faults that do nothing any more are found out.
//!
//! The floors of `mixed` stand beside the kinds. Another profile has less of some kinds. It must have a tenth of that,
//! and much of what it is for.

use crate::generate::Profile;
use crate::oracle::adversity::Kind;

/// What a profile is for, and how often 1,000 of its schedules must have it: about a third of what they had.
const fn own(profile: Profile) -> &'static [(Kind, u64)] {
    match profile {
        Profile::Mixed | Profile::General | Profile::Speed => &[],
        Profile::Retirement => &[(Kind::Retired, 2_000), (Kind::Renewed, 1_000), (Kind::Crash, 1_800)],
        Profile::LostWrites => &[(Kind::CrashUnspread, 270), (Kind::NotCovered, 6_000)],
        Profile::Transfer => &[(Kind::WaitServed, 15_000), (Kind::Installed, 2_000), (Kind::ListWaited, 1_900)],
        Profile::Membership => &[(Kind::Unwanted, 1_200), (Kind::Introduced, 450)],
        Profile::Deletes => &[(Kind::DeleteHid, 1_600)],
        Profile::Clocks => &[(Kind::ClockDistrusted, 110), (Kind::SkewWon, 160), (Kind::LearntAnew, 200)],
        Profile::Links => &[(Kind::PushLate, 1_100), (Kind::MadeApart, 500), (Kind::SentAgain, 2_400)],
        Profile::Joining => &[(Kind::Alone, 1_700), (Kind::CrashUnspread, 340), (Kind::Round, 1_000)],
        Profile::Upgrades => {
            &[(Kind::Formats, 900), (Kind::FormatChanged, 450), (Kind::Upgrading, 1_500), (Kind::Erased, 220)]
        }
    }
}

/// How often 1,000 schedules of a profile must have this kind.
#[must_use]
pub fn floor(profile: Profile, kind: Kind) -> u64 {
    if profile == Profile::Mixed {
        return kind.floor();
    }
    if let Some(&(_, floor)) = own(profile).iter().find(|(own, _)| *own == kind) {
        return floor;
    }
    if matches!(kind, Kind::Formats | Kind::FormatChanged | Kind::Upgrading | Kind::Erased) {
        0 // Replicas speak one format unless that is what the profile is for.
    } else if kind == Kind::ListWaited {
        kind.floor() / 100 // Small states are merged in by one call, before a list can come.
    } else {
        kind.floor() / 10
    }
}
