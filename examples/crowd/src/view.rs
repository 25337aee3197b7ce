//! The host's own rendering: agents as light, straight from the simulation's buffer, and pictures of it for the sheet.

use foveal::wgpu;
use foveal_examples_common::Failure;

use crate::crowd::Buffers;
use crate::passes::module;
use crate::world::{ASPECT, World};

/// Pictures on the sheet, side by side and one above the other.
pub(crate) const COLUMNS: u32 = 3;
pub(crate) const ROWS: u32 = 2;

/// Share of the light that remains from one frame to the next.
const REMAINS: f64 = 0.84;
/// Light is linear, and what remains of it goes on to fade below what eight bits can tell.
const LIGHT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba16Float;
const PICTURE: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;

/// Width and height of a picture `width` pixels wide, if the device has textures for a sheet of those.
pub(crate) fn size_of(device: &wgpu::Device, width: u32) -> Result<[u32; 2], Failure> {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "pixels"
    )]
    let height = (width as f32 / ASPECT).round() as u32;
    let max = device.limits().max_texture_dimension_2d;
    if COLUMNS * width > max || ROWS * height > max {
        let message = format!("{width} x {height} pixels each, at most {max} are possible in a row");
        return Err(Failure::usage("the pictures", message));
    }
    Ok([width, height])
}

/// Pipelines, and the textures they draw to.
pub(crate) struct View {
    light: wgpu::TextureView,
    /// The sheet's pictures, without gaps.
    pub(crate) sheet: wgpu::Texture,
    sheet_view: wgpu::TextureView,
    fade: wgpu::RenderPipeline,
    agents: wgpu::RenderPipeline,
    agents_group: wgpu::BindGroup,
    develop: wgpu::RenderPipeline,
    develop_group: wgpu::BindGroup,
    /// Width and height of one picture.
    pub(crate) size: [u32; 2],
    /// Three an agent.
    vertices: u32,
}

impl View {
    /// Pictures of `size` pixels.
    pub(crate) fn new(device: &wgpu::Device, world: &World, buffers: &Buffers, size: [u32; 2]) -> Self {
        let [width, height] = size;
        let light = texture(device, "light", size, LIGHT, wgpu::TextureUsages::TEXTURE_BINDING);
        let sheet_size = [COLUMNS * width, ROWS * height];
        let sheet = texture(device, "sheet", sheet_size, PICTURE, wgpu::TextureUsages::COPY_SRC);
        let view = |texture: &wgpu::Texture| texture.create_view(&wgpu::TextureViewDescriptor::default());
        let (light, sheet_view) = (view(&light), view(&sheet));

        let drawing = module(device, "draw", include_str!("shaders/draw.wgsl"));
        let developing = module(device, "develop", include_str!("shaders/develop.wgsl"));
        let factors = |src_factor, dst_factor| wgpu::BlendComponent {
            src_factor,
            dst_factor,
            operation: wgpu::BlendOperation::Add,
        };
        let both = |component| Some(wgpu::BlendState { color: component, alpha: component });
        let fading = both(factors(wgpu::BlendFactor::Zero, wgpu::BlendFactor::Constant));
        // The brighter one remains: where many cross, nothing burns out.
        let brighter = both(wgpu::BlendComponent {
            operation: wgpu::BlendOperation::Max,
            ..factors(wgpu::BlendFactor::One, wgpu::BlendFactor::One)
        });
        let fade = pipeline(device, &drawing, ["all", "fade"], LIGHT, fading);
        let agents = pipeline(device, &drawing, ["corner", "light"], LIGHT, brighter);
        let develop = pipeline(device, &developing, ["all", "develop"], PICTURE, None);
        let group = |pipeline: &wgpu::RenderPipeline, second| {
            let entries = [
                wgpu::BindGroupEntry { binding: 0, resource: buffers.world.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: second },
            ];
            let layout = pipeline.get_bind_group_layout(0);
            let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
            device.create_bind_group(&descriptor)
        };
        let agents_group = group(&agents, buffers.agents.as_entire_binding());
        let develop_group = group(&develop, wgpu::BindingResource::TextureView(&light));
        let vertices = u32::try_from(3 * world.agents()).unwrap_or(u32::MAX);
        Self { light, sheet, sheet_view, fade, agents, agents_group, develop, develop_group, size, vertices }
    }

    /// Records a frame: what was there fades, the agents shine.
    pub(crate) fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = draw_to(encoder, "agents", &self.light);
        pass.set_pipeline(&self.fade);
        pass.set_blend_constant(wgpu::Color { r: REMAINS, g: REMAINS, b: REMAINS, a: REMAINS });
        pass.draw(0..3, 0..1);
        pass.set_pipeline(&self.agents);
        pass.set_bind_group(0, &self.agents_group, &[]);
        pass.draw(0..self.vertices, 0..1);
    }

    /// Records a picture of the frame, the sheet's `index`th.
    #[expect(clippy::cast_precision_loss, reason = "pixels")]
    pub(crate) fn encode_picture(&self, encoder: &mut wgpu::CommandEncoder, index: u32) {
        let [width, height] = self.size;
        let (column, row) = (index % COLUMNS, index / COLUMNS % ROWS);
        let mut pass = draw_to(encoder, "picture", &self.sheet_view);
        let (x, y) = (column * width, row * height);
        pass.set_viewport(x as f32, y as f32, width as f32, height as f32, 0.0, 1.0);
        // One larger triangle covers the picture.
        pass.set_scissor_rect(x, y, width, height);
        pass.set_pipeline(&self.develop);
        pass.set_bind_group(0, &self.develop_group, &[]);
        pass.draw(0..3, 0..1);
    }
}

/// A pass that keeps what is there.
fn draw_to<'e>(
    encoder: &'e mut wgpu::CommandEncoder,
    label: &str,
    view: &wgpu::TextureView,
) -> wgpu::RenderPass<'e> {
    let attachment = wgpu::RenderPassColorAttachment {
        view,
        depth_slice: None,
        resolve_target: None,
        ops: wgpu::Operations { load: wgpu::LoadOp::Load, store: wgpu::StoreOp::Store },
    };
    encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
        label: Some(label),
        color_attachments: &[Some(attachment)],
        ..wgpu::RenderPassDescriptor::default()
    })
}

fn texture(
    device: &wgpu::Device,
    label: &str,
    [width, height]: [u32; 2],
    format: wgpu::TextureFormat,
    usage: wgpu::TextureUsages,
) -> wgpu::Texture {
    device.create_texture(&wgpu::TextureDescriptor {
        label: Some(label),
        size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: usage | wgpu::TextureUsages::RENDER_ATTACHMENT,
        view_formats: &[],
    })
}

/// A pipeline without vertex buffers: vertices are made of indices.
fn pipeline(
    device: &wgpu::Device,
    module: &wgpu::ShaderModule,
    [vertex, fragment]: [&str; 2],
    format: wgpu::TextureFormat,
    blend: Option<wgpu::BlendState>,
) -> wgpu::RenderPipeline {
    device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: Some(fragment),
        layout: None,
        vertex: wgpu::VertexState {
            module,
            entry_point: Some(vertex),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            buffers: &[],
        },
        primitive: wgpu::PrimitiveState::default(),
        depth_stencil: None,
        multisample: wgpu::MultisampleState::default(),
        fragment: Some(wgpu::FragmentState {
            module,
            entry_point: Some(fragment),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            targets: &[Some(wgpu::ColorTargetState { format, blend, write_mask: wgpu::ColorWrites::ALL })],
        }),
        multiview_mask: None,
        cache: None,
    })
}
