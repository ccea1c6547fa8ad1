//! Vector instructions: detection at run time, dispatch, one safe interface.
//!
//! Three layers:
//!
//! 1. a token type for each instruction set ([`Portable`], `Avx2`, `Avx512`,
//!    `Neon`, `Simd128`): to hold one is the proof that the CPU has the instructions;
//! 2. the trait [`Simd`]: safe operations on vectors of `f32`, `u16` and `i32`, by means of a
//!    token;
//! 3. [`dispatch`]: picks the best token once, and runs an [`Operation`], generic
//!    over [`Simd`], inside a function compiled for that instruction set.
//!
//! Algorithms stay above, in safe code. This folder is the one place of `unsafe`.
//!
//! The environment variable `EC2T_ISA` forces a choice: `portable`, `avx2`
//! (AVX2 with FMA), `avx512` (F, VL, DQ and BW), `neon`, or `simd128` (WebAssembly, in
//! builds with that target feature). A name that is unknown, or that this CPU lacks, is
//! an error of [`Isa::from_env`], which programs call when they start; libraries,
//! through [`isa()`], pass it over and take the best.
//!
//! ```
//! use ec2t_kernels::arch::{Operation, Simd, dispatch};
//!
//! /// Scales values in place.
//! struct Scale<'a>(f32, &'a mut [f32]);
//!
//! impl Operation for Scale<'_> {
//!     type Output = ();
//!
//!     #[inline(always)]
//!     fn eval<S: Simd>(self, simd: S) {
//!         let factor = simd.splat(self.0);
//!         let mut vectors = self.1.chunks_exact_mut(S::LANES);
//!         for values in &mut vectors {
//!             simd.store(simd.mul(factor, simd.load(values)), values);
//!         }
//!         let rest = vectors.into_remainder();
//!         simd.store_partial(simd.mul(factor, simd.load_partial(rest)), rest);
//!     }
//! }
//!
//! let mut values = [1.0; 19];
//! dispatch(Scale(3.0, &mut values));
//! assert_eq!(values, [3.0; 19]);
//! ```

#![allow(unused_unsafe, reason = "intrinsics are safe where the target always has them")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod planes;
mod portable;
mod simd;
mod strided;
#[cfg(test)]
mod tests;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
pub use planes::Planes;
pub use portable::Portable;
pub use simd::Simd;
pub use strided::strided;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use wasm::Simd128;

use std::{env, fmt, sync::OnceLock};

mod sealed {
    pub trait Sealed {}
}

/// The environment variable that forces an instruction set.
pub const ISA_VARIABLE: &str = "EC2T_ISA";

/// Work that is written once for all instruction sets.
pub trait Operation {
    /// What the work yields.
    type Output;

    /// Does the work.
    ///
    /// Mark it, and all it calls on vectors, `#[inline(always)]`: what is not
    /// inlined is compiled for the baseline CPU, correct but slow. For the same
    /// reason it starts no threads: threads dispatch, each for its own part.
    fn eval<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set that this CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Isa {
    /// Plain Rust, on any CPU.
    Portable(Portable),
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// AVX-512 F, VL, DQ and BW.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    /// Advanced SIMD of AArch64.
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    /// SIMD of WebAssembly.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128(Simd128),
}

/// The names that `EC2T_ISA` may hold, on any platform.
const NAMES: [&str; 5] = ["portable", "avx2", "avx512", "neon", "simd128"];

impl Isa {
    /// All instruction sets that this CPU has, best last.
    pub fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let special = [Avx2::new().map(Isa::Avx2), Avx512::new().map(Isa::Avx512)];
        #[cfg(target_arch = "aarch64")]
        let special = [Neon::new().map(Isa::Neon)];
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        let special = [Some(Isa::Simd128(Simd128))];
        #[cfg(not(any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            all(target_arch = "wasm32", target_feature = "simd128")
        )))]
        let special = [None; 0];
        std::iter::once(Isa::Portable(Portable)).chain(special.into_iter().flatten())
    }

    /// The one with this name.
    ///
    /// # Errors
    ///
    /// [`IsaError`] if nothing has that name, or this CPU lacks it.
    pub fn named(name: &str) -> Result<Self, IsaError> {
        Self::available().find(|isa| isa.name() == name).ok_or_else(|| {
            let name = name.to_owned();
            if NAMES.contains(&name.as_str()) {
                IsaError::Unavailable { name }
            } else {
                IsaError::Unknown { name }
            }
        })
    }

    /// The one that `EC2T_ISA` names; the best if it is unset or empty.
    ///
    /// # Errors
    ///
    /// [`IsaError`] if nothing has that name, or this CPU lacks it.
    pub fn from_env() -> Result<Self, IsaError> {
        match env::var_os(ISA_VARIABLE) {
            Some(name) if !name.is_empty() => Self::named(&name.to_string_lossy()),
            _ => Ok(Self::best()),
        }
    }

    fn best() -> Self {
        Self::available().last().unwrap_or(Isa::Portable(Portable))
    }

    /// `portable`, `avx2`, `avx512`, `neon` or `simd128`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable(simd) => simd.name(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(simd) => simd.name(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(simd) => simd.name(),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(simd) => simd.name(),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128(simd) => simd.name(),
        }
    }

    /// Values in a vector.
    pub fn lanes(self) -> usize {
        match self {
            Isa::Portable(_) => Portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => Avx512::LANES,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) => Neon::LANES,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128(_) => Simd128::LANES,
        }
    }

    /// Vector registers that the instruction set names.
    pub fn registers(self) -> usize {
        match self {
            Isa::Portable(_) => Portable::REGISTERS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => Avx2::REGISTERS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => Avx512::REGISTERS,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) => Neon::REGISTERS,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128(_) => Simd128::REGISTERS,
        }
    }

    /// The one with half as many lanes, where this one implies it.
    pub fn narrower(self) -> Option<Self> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => Avx2::new().map(Isa::Avx2),
            _ => None,
        }
    }

    /// Runs an operation with these instructions.
    #[inline]
    pub fn run<O: Operation>(self, operation: O) -> O::Output {
        match self {
            // A page has no environment that could choose. Of two sets with as many lanes and
            // the same results, its module need not have both.
            #[cfg(all(target_arch = "wasm32", target_os = "unknown", target_feature = "simd128"))]
            Isa::Portable(_) => operation.eval(Simd128),
            #[cfg(not(all(
                target_arch = "wasm32",
                target_os = "unknown",
                target_feature = "simd128"
            )))]
            Isa::Portable(simd) => operation.eval(simd),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(simd) => simd.run(operation),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(simd) => simd.run(operation),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(simd) => simd.run(operation),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128(simd) => operation.eval(simd),
        }
    }
}

/// The instruction set in use: the one that `EC2T_ISA` forces, else the best.
///
/// Determined at the first call, then kept. A value of `EC2T_ISA` that cannot be
/// used counts as unset; [`Isa::from_env`] tells.
#[inline]
pub fn isa() -> Isa {
    static SELECTED: OnceLock<Isa> = OnceLock::new();
    *SELECTED.get_or_init(|| Isa::from_env().unwrap_or_else(|_| Isa::best()))
}

/// Runs an operation with the instruction set in use, [`isa()`].
#[inline]
pub fn dispatch<O: Operation>(operation: O) -> O::Output {
    isa().run(operation)
}

/// An instruction set was asked for that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IsaError {
    /// No instruction set has this name.
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// This CPU does not have it.
    Unavailable {
        /// What was asked for.
        name: String,
    },
}

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let available: Vec<_> = Isa::available().map(Isa::name).collect();
        let available = available.join(", ");
        match self {
            IsaError::Unknown { name } => {
                write!(f, "unknown instruction set {name:?}; this CPU has {available}")
            }
            IsaError::Unavailable { name } => {
                write!(f, "this CPU has no {name}; it has {available}")
            }
        }
    }
}

impl std::error::Error for IsaError {}
