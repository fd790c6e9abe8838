//! INIT: what must hold before packets are taken in the ordinary way.

use super::super::tree::{Arrows, Node, Tree, states};

states! {
    /// In INIT.
    Init: Chain {
        /// Is there what is needed?
        ResourceCheck(ResourceCheck),
        /// Does the configuration make sense?
        ConfigValidation,
        /// Are there keys, and do they work?
        SecurityInit(SecurityInit),
        /// What can be made ready before the first packet is.
        WarmUp(WarmUp),
    }
}

states! {
    /// In INIT / ResourceCheck.
    ResourceCheck: Chain {
        /// The disk.
        NVMeValidation,
        /// The memory.
        MemoryAllocation,
        /// Interfaces and listeners.
        NetworkInit,
    }
}

states! {
    /// In INIT / SecurityInit.
    SecurityInit: Chain {
        /// The key provider.
        KMSCheck,
        /// Its credentials.
        CredsValidation,
        /// Encryption itself.
        EncryptionInit,
    }
}

states! {
    /// In INIT / WarmUp.
    WarmUp: Chain {
        /// Buffers.
        BufferPrealloc,
        /// The index.
        IndexPrep,
        /// The last look around.
        ReadyState,
    }
}
