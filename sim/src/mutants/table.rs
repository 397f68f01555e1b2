//! The table of the mutants of the core: a name, a doc and a profile for each.

macro_rules! mutants {
    ($($(#[$doc:meta])* $kind:ident $name:literal $profile:ident $(drops $($rule:ident)+)?;)*) => {
        /// Which sentence is replaced.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[$doc])* $kind,)*
        }

        impl Mutant {
            /// Every mutant. The kill matrix must convict each.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Its name on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The plans that find it soonest.
            #[must_use]
            pub const fn profile(self) -> Profile {
                match self { $(Self::$kind => Profile::$profile,)* }
            }

            /// The sentences that it does not follow. It may replace what others compute, too.
            #[must_use]
            pub const fn drops(self) -> &'static [Rule] {
                match self { $(Self::$kind => &[$($(Rule::$rule),+)?],)* }
            }

            /// The mutant with this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|mutant| mutant.name() == name)
            }
        }
    };
}
