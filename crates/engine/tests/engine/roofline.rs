//! Measured rates.

use std::time::Instant;

use crate::common::{engine, options};
use pollster::block_on;

#[test]
fn rates_are_measured_and_can_be_planned_with() {
    let Some(engine) = engine() else { return };
    let started = Instant::now();
    let roofline = block_on(engine.measure_roofline()).unwrap();
    println!("{roofline}\n{} chains; measured in {:?}", roofline.fma_chains, started.elapsed());
    let rates = roofline.rates();
    assert!(
        rates.measured && rates.fma > rates.exp2 && rates.storage_load > 0.0 && rates.workgroup_load > 0.0
    );
    assert_eq!(rates.broadcast > 0.0, engine.profile().features.subgroups.is_some());
    assert_eq!(roofline.matrix.is_some(), engine.profile().matrix.is_some());
    assert_eq!(engine.with_rates(rates).profile().rates, rates);
    assert!(!engine.profile().rates.measured);
    let text = serde_json::to_string(&roofline).unwrap();
    assert_eq!(serde_json::from_str::<foveal::Roofline>(&text).unwrap().adapter, roofline.adapter);
}

#[test]
fn a_device_of_the_floor_can_be_measured() {
    let options = foveal::Options { floor: true, ..options() };
    let Some(engine) = crate::common::engine_with(options) else { return };
    assert!(block_on(engine.measure_roofline()).unwrap().broadcast.is_none());
}
