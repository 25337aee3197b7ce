//! Matrix units: what an adapter lists, and what a device may use.

use foveal_kernels::AdapterProfile;

use crate::options::MatrixUnits;

/// Features that kernels with matrices need.
const FEATURES: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
    .union(wgpu::Features::SHADER_F16)
    .union(wgpu::Features::SUBGROUP);

/// The side of the square matrices of f16, added in f32, that an adapter lists; the largest that kernels are made for.
pub(crate) fn listed(adapter: &wgpu::Adapter, profile: &AdapterProfile) -> Option<u32> {
    if !adapter.features().contains(FEATURES) || profile.matrix_denied().is_some() {
        return None;
    }
    let listed = adapter.cooperative_matrix_properties();
    [16, 8].into_iter().find(|&side| {
        listed.iter().any(|of| {
            (of.m_size, of.n_size, of.k_size) == (side, side, side)
                && of.ab_type == wgpu::CooperativeScalarType::F16
                && of.cr_type == wgpu::CooperativeScalarType::F32
                && !of.saturating_accumulation
        })
    })
}

/// The side that an engine's own device is opened for, if it is to have matrices.
pub(crate) fn wanted(units: MatrixUnits, adapter: &wgpu::Adapter, profile: &AdapterProfile) -> Option<u32> {
    match units {
        MatrixUnits::Off => None,
        MatrixUnits::Listed => listed(adapter, profile),
        MatrixUnits::Side(side) => {
            (adapter.features().contains(FEATURES) && profile.matrix_denied().is_none()).then_some(side)
        }
    }
}

/// The side that a device is to be probed for.
pub(crate) fn to_probe(
    units: MatrixUnits,
    own: Option<u32>,
    device: &wgpu::Device,
    profile: &AdapterProfile,
) -> Option<u32> {
    let side = match units {
        MatrixUnits::Side(side) => own.or(Some(side)),
        MatrixUnits::Off => None,
        MatrixUnits::Listed => own,
    };
    side.filter(|_| device.features().contains(FEATURES) && profile.matrix_denied().is_none())
        .filter(|side| [8, 16].contains(side))
}
