//! A constructor a model: what each published linear attention is in this operator's terms.

use super::{FeatureMap, Gate, Key, LinearAttention, LinearShape, Normaliser, Rule, StateLayout};
use crate::Layout;

impl LinearAttention {
    /// Linear Transformer: elu(x) + 1 as the feature map, divided by the sum of weights (Katharopoulos et al. 2020,
    /// Transformers are RNNs).
    #[must_use]
    pub fn linear_transformer(shape: LinearShape) -> Self {
        Self::new(shape).feature_map(FeatureMap::Elu1).normaliser(Normaliser::Sum).scale(1.0)
    }

    /// RetNet: a constant decay a head, `g [HV]` = ln gamma (Sun et al. 2023, Retentive Network).
    #[must_use]
    pub fn retnet(shape: LinearShape) -> Self {
        Self::new(shape).gate(Gate::Constant)
    }

    /// Lightning Attention-2: silu as the feature map, a constant decay a head (Qin et al. 2024; MiniMax-01).
    #[must_use]
    pub fn lightning(shape: LinearShape) -> Self {
        Self::new(shape).gate(Gate::Constant).scale(1.0).feature_map(FeatureMap::Silu)
    }

    /// Gated Linear Attention with one gate a head and token, `g [B, HV, T]` (Yang et al. 2024; Peng et al. 2021, RFA).
    #[must_use]
    pub fn simple_gla(shape: LinearShape) -> Self {
        Self::new(shape).gate(Gate::Scalar)
    }

    /// Mamba-2: q = C, k = B, v = x, `g [HV]` = A; the tensor `dt [B, T, HV]` of step sizes, after its softplus, and `d [HV]`
    /// = D; tensors in the order bthd, states `[N, HV, Dv, Dk]` (Dao and Gu 2024).
    #[must_use]
    pub fn mamba2(shape: LinearShape) -> Self {
        Self::new(shape)
            .gate(Gate::Constant)
            .step_sizes("dt")
            .skip("d")
            .scale(1.0)
            .state_layout(StateLayout::Vk)
            .layout(Layout::Bthd)
    }

    /// Gated Linear Attention: a gate a channel, `g [B, HV, T, Dk]` (Yang et al. 2024).
    #[must_use]
    pub fn gla(shape: LinearShape) -> Self {
        Self::new(shape).gate(Gate::Vector)
    }

    /// HGRN2: g is the logarithm of the forget gate, and k = 1 - exp(g) (Qin et al. 2024).
    #[must_use]
    pub fn hgrn2(shape: LinearShape) -> Self {
        Self::new(shape).gate(Gate::Vector).key(Key::Decay).scale(1.0)
    }

    /// DeltaNet: the delta rule with `beta [B, HV, T]` (Schlag et al. 2021; Yang et al. 2024).
    #[must_use]
    pub fn delta_net(shape: LinearShape) -> Self {
        Self::new(shape).rule(Rule::Delta)
    }

    /// Gated DeltaNet: the delta rule with a gate a head and token (Yang et al. 2024, Gated Delta Networks; Qwen3-Next).
    #[must_use]
    pub fn gated_delta_net(shape: LinearShape) -> Self {
        Self::delta_net(shape).gate(Gate::Scalar)
    }

    /// Gated DeltaProduct: `steps` delta steps a token, k, v and beta with `steps` rows for each (Siems et al. 2025).
    #[must_use]
    pub fn gated_delta_product(shape: LinearShape, steps: usize) -> Self {
        Self::gated_delta_net(shape).steps(steps)
    }

    /// Kimi Delta Attention: the delta rule with a gate a channel (Moonshot AI 2025, Kimi Linear).
    #[must_use]
    pub fn kda(shape: LinearShape) -> Self {
        Self::delta_net(shape).gate(Gate::Vector)
    }

    /// Comba: Gated DeltaNet whose erased key is the tensor `p`, a multiple of k (Hu et al. 2025).
    #[must_use]
    pub fn comba(shape: LinearShape) -> Self {
        Self::gated_delta_net(shape).erase_key("p")
    }

    /// RWKV-6: a gate a channel, and the tensor `u [HV, Dk]` as the bonus (Peng et al. 2024, Eagle and Finch).
    #[must_use]
    pub fn rwkv6(shape: LinearShape) -> Self {
        Self::gla(shape).bonus("u").scale(1.0)
    }

    /// RWKV-7: diagonal plus low rank, a = -kk and b = kk times the in-context rate (Peng et al. 2025, Goose).
    #[must_use]
    pub fn rwkv7(shape: LinearShape) -> Self {
        Self::new(shape).rule(Rule::Dplr).gate(Gate::Vector).scale(1.0)
    }

    /// Hedgehog: learned feature maps of `features` projections, `q_weight` and `k_weight [H, Dk, F]` (Zhang et al. 2024, The
    /// Hedgehog and the Porcupine).
    #[must_use]
    pub fn hedgehog(shape: LinearShape, features: usize) -> Self {
        Self::new(shape)
            .feature_map(FeatureMap::Learned)
            .feature_dim(features)
            .normaliser(Normaliser::Sum)
            .scale(1.0)
    }

    /// Linear attention of whole sequences with relu as the feature map (Cai et al. 2023, EfficientViT; Guo et al. 2024,
    /// SLAB).
    #[must_use]
    pub fn relu_whole(shape: LinearShape) -> Self {
        Self::new(shape).whole().feature_map(FeatureMap::Relu).normaliser(Normaliser::Sum).scale(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear_attention::testing::recipes::RECIPES;
    use crate::operator::described;

    /// Constructors are the recipes of their models.
    #[test]
    fn constructors_are_recipes() {
        let shape = LinearShape::bhtd(1, 4, 200, 64);
        let grouped = |heads, dim| LinearShape::bhtd(1, heads, 200, dim).value_heads(4);
        for (name, built) in [
            ("linear-transformer", LinearAttention::linear_transformer(shape)),
            ("retnet", LinearAttention::retnet(shape)),
            ("lightning", LinearAttention::lightning(shape)),
            ("simple-gla", LinearAttention::simple_gla(shape)),
            ("mamba2-ssd", LinearAttention::mamba2(grouped(1, 64))),
            ("gla", LinearAttention::gla(shape)),
            ("hgrn2", LinearAttention::hgrn2(shape)),
            ("delta-net", LinearAttention::delta_net(shape)),
            ("gated-delta-net", LinearAttention::gated_delta_net(grouped(2, 64))),
            (
                "gated-delta-product",
                LinearAttention::gated_delta_product(LinearShape::bhtd(1, 4, 100, 64), 2),
            ),
            ("kda", LinearAttention::kda(shape)),
            ("comba", LinearAttention::comba(shape)),
            ("rwkv6", LinearAttention::rwkv6(shape)),
            ("rwkv7", LinearAttention::rwkv7(shape)),
            ("hedgehog", LinearAttention::hedgehog(shape, 64)),
            ("slab", LinearAttention::relu_whole(LinearShape::bhtd(1, 3, 196, 64))),
        ] {
            let recipe = RECIPES.iter().find(|recipe| recipe.name == name).expect("a recipe");
            let options = serde_json::from_str(recipe.options).expect("its options");
            let mut read = described::<LinearAttention>(recipe.shape, &options).expect("a problem");
            // Shapes given as text ask for states, with any options.
            (read.state_in, read.state_out) = (built.state_in, built.state_out);
            (read.z_in, read.z_out) = (built.z_in, built.z_out);
            assert_eq!(built, read, "{name}");
        }
    }
}
