//! Which addresses the frames of a connection may bear, where its other end proved one.
//!
//! A member speaks for the address that it proved, and for no other member. While it stands aside it has a name of its
//! own beside that, which leads nowhere.

use super::greeting::Greeting;
use hence_core::Address;

/// The addresses; without any, a frame may bear what it says.
#[derive(Debug, Clone, Default)]
pub(super) struct Bearer(Option<[Address; 3]>);

impl Bearer {
    /// Those of the process that introduced itself so, and was proved to be there or at `home`.
    pub(super) fn of(greeting: &Greeting) -> Self {
        let home = greeting.home.as_ref().unwrap_or(&greeting.address);
        Self(Some([greeting.address.clone(), home.clone(), Address::nowhere(greeting.process)]))
    }

    /// Those of a process that was dialled at this address, and proved to have it.
    pub(super) fn at(address: &Address, greeting: Option<&Greeting>) -> Self {
        let aside = greeting.map_or_else(|| address.clone(), |greeting| Address::nowhere(greeting.process));
        Self(Some([address.clone(), address.clone(), aside]))
    }

    /// May a frame bear this one?
    pub(super) fn may_bear(&self, address: &Address) -> bool {
        self.0.as_ref().is_none_or(|own| own.contains(address))
    }
}
