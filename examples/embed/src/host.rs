//! The rest of the host: its adapter, its buffers, its screen.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use foveal::wgpu::util::{BufferInitDescriptor, DeviceExt};
use foveal::{Dtype, Engine, HostTensor, TensorData, wgpu};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use crate::photo::SIDE;

/// A panel's side in pixels: five for each of the photo's.
const PANEL: u32 = 480;
/// Around the panels.
const MARGIN: u32 = 24;
const WIDTH: u32 = 3 * MARGIN + 2 * PANEL;
const HEIGHT: u32 = 2 * MARGIN + PANEL;
/// Bytes of a pixel.
const TEXEL: u32 = 4;
const FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;

/// Prints a line. A closed stdout is no reason to stop.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// The same for what went wrong.
pub(crate) fn complain(error: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "error: {error}");
}

/// The first adapter whose name contains the environment variable `FOVEAL_ADAPTER`; without it, the one that wgpu takes
/// for the fastest. `WGPU_BACKEND` narrows the choice.
pub(crate) async fn adapter() -> Result<wgpu::Adapter, Box<dyn Error>> {
    let backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::PRIMARY);
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    let instance = wgpu::Instance::new(descriptor);
    let wanted = std::env::var("FOVEAL_ADAPTER").unwrap_or_default().to_lowercase();
    if wanted.is_empty() {
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..wgpu::RequestAdapterOptions::default()
        };
        return Ok(instance.request_adapter(&options).await?);
    }
    let mut adapters = instance.enumerate_adapters(backends).await.into_iter();
    let found = adapters.find(|adapter| adapter.get_info().name.to_lowercase().contains(&wanted));
    found.ok_or_else(|| format!("FOVEAL_ADAPTER: no adapter's name contains `{wanted}`").into())
}

/// A tensor in a buffer of the host's.
pub(crate) fn upload(device: &wgpu::Device, name: &str, tensor: &HostTensor) -> wgpu::Buffer {
    device.create_buffer_init(&BufferInitDescriptor {
        label: Some(name),
        contents: &tensor.to_bytes(Dtype::F32),
        usage: wgpu::BufferUsages::STORAGE,
    })
}

/// A buffer for a result. Reading it back, to check it, takes `COPY_SRC`.
pub(crate) fn buffer(device: &wgpu::Device, name: &str, size: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(name),
        size,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

/// The host's canvas.
pub(crate) struct Screen {
    texture: wgpu::Texture,
    view: wgpu::TextureView,
    pipeline: wgpu::RenderPipeline,
    pixels: wgpu::Buffer,
}

/// Colours in a buffer, and the place on the screen where they are drawn.
pub(crate) struct Panel {
    group: wgpu::BindGroup,
    left: u32,
}

impl Panel {
    /// Whether the screen has these colours, `[SIDE, SIDE, 3]` from 0 to 1, in the panel's squares.
    fn shows(&self, screen: &[u8], colours: &[f64]) -> bool {
        let step = PANEL as usize / SIDE;
        let square = |at: usize| {
            // The middle of the square.
            let x = self.left as usize + at % SIDE * step + step / 2;
            let y = MARGIN as usize + at / SIDE * step + step / 2;
            &screen[3 * (y * WIDTH as usize + x)..]
        };
        // Half a step of a byte is rounding, and drivers may round otherwise.
        let alike =
            |(&byte, &part): (&u8, &f64)| (f64::from(byte) / 255.0 - part.clamp(0.0, 1.0)).abs() < 0.004;
        (0..SIDE * SIDE).all(|at| square(at).iter().zip(&colours[3 * at..3 * at + 3]).all(alike))
    }
}

impl Screen {
    pub(crate) fn new(device: &wgpu::Device) -> Self {
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("screen"),
            size: wgpu::Extent3d { width: WIDTH, height: HEIGHT, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: FORMAT,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let module = device.create_shader_module(wgpu::include_wgsl!("frame.wgsl"));
        let pipeline = device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: Some("panel"),
            layout: None,
            vertex: wgpu::VertexState {
                module: &module,
                entry_point: Some("corner"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                buffers: &[],
            },
            primitive: wgpu::PrimitiveState::default(),
            depth_stencil: None,
            multisample: wgpu::MultisampleState::default(),
            fragment: Some(wgpu::FragmentState {
                module: &module,
                entry_point: Some("colour"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                targets: &[Some(FORMAT.into())],
            }),
            multiview_mask: None,
            cache: None,
        });
        let pixels = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("pixels"),
            size: u64::from(padded_row() * HEIGHT),
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        Self { texture, view, pipeline, pixels }
    }

    /// A panel that shows the colours in a buffer, `index` panels from the left.
    pub(crate) fn panel(&self, device: &wgpu::Device, colours: &wgpu::Buffer, index: u32) -> Panel {
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("panel"),
            layout: &self.pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: colours.as_entire_binding() }],
        });
        Panel { group, left: MARGIN + index * (PANEL + MARGIN) }
    }

    /// A pass that clears the screen and draws a panel.
    pub(crate) fn clear_and_draw(&self, encoder: &mut wgpu::CommandEncoder, panel: &Panel) {
        let paper = wgpu::Color { r: 0.95, g: 0.94, b: 0.91, a: 1.0 };
        self.draw(encoder, panel, wgpu::LoadOp::Clear(paper));
    }

    /// A pass that draws a panel over what is there.
    pub(crate) fn draw_over(&self, encoder: &mut wgpu::CommandEncoder, panel: &Panel) {
        self.draw(encoder, panel, wgpu::LoadOp::Load);
    }

    fn draw(&self, encoder: &mut wgpu::CommandEncoder, panel: &Panel, load: wgpu::LoadOp<wgpu::Color>) {
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            label: Some("panel"),
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: &self.view,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations { load, store: wgpu::StoreOp::Store },
            })],
            ..wgpu::RenderPassDescriptor::default()
        });
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &panel.group, &[]);
        pass.set_viewport(panel.left as f32, MARGIN as f32, PANEL as f32, PANEL as f32, 0.0, 1.0);
        pass.draw(0..3, 0..1);
    }

    /// Writes the screen as PNG, once it is known that its panels show these colours.
    pub(crate) async fn save(
        &self,
        engine: &Engine,
        path: &str,
        panels: [(&Panel, &HostTensor); 2],
    ) -> Result<(), Box<dyn Error>> {
        let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let layout = wgpu::TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: Some(padded_row()),
            rows_per_image: None,
        };
        encoder.copy_texture_to_buffer(
            self.texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo { buffer: &self.pixels, layout },
            self.texture.size(),
        );
        engine.queue().submit([encoder.finish()]);
        // The engine reads any buffer of its device back, and waits for what was submitted.
        let shape = [HEIGHT as usize, padded_row() as usize];
        let pixels = engine.read_back(&self.pixels, &shape, Dtype::U8).await?;
        let TensorData::U8(bytes) = pixels.data() else { return Err("pixels are bytes".into()) };
        let rows = bytes.chunks_exact(shape[1]).map(|row| &row[..(WIDTH * TEXEL) as usize]);
        let rgb: Vec<u8> =
            rows.flat_map(|row| row.chunks_exact(4).flat_map(|texel| &texel[..3])).copied().collect();
        for (panel, colours) in panels {
            if !panel.shows(&rgb, &colours.to_f64()) {
                return Err(
                    format!("the panel at x = {} does not show what its buffer holds", panel.left).into()
                );
            }
        }
        let mut png = Vec::new();
        PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::Up).write_image(
            &rgb,
            WIDTH,
            HEIGHT,
            ExtendedColorType::Rgb8,
        )?;
        std::fs::write(path, png).map_err(|error| format!("{path}: {error}"))?;
        say(format_args!(
            "{path}: {WIDTH} x {HEIGHT}; left what the host had, right what attention made of it"
        ));
        Ok(())
    }
}

/// Bytes from one row of pixels to the next in a buffer, where rows begin at multiples of 256 bytes.
fn padded_row() -> u32 {
    (WIDTH * TEXEL).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT)
}
