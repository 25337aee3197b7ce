//! Scene to picture: vello draws into a texture of the host's, which is read back.

use std::time::{Duration, Instant};

use foveal::{Engine, wgpu};
use foveal_examples_common::{Failure, Host, pixels};
use image::RgbImage;
use vello::peniko::{Color, ImageData};
use vello::{AaConfig, AaSupport, RenderParams, Renderer, RendererOptions, Scene};

/// vello on the host's device.
pub(crate) struct Painter {
    renderer: Renderer,
    /// Compiling vello's shaders.
    pub(crate) ready_in: Duration,
}

impl Painter {
    pub(crate) fn new(host: &Host) -> Result<Self, Failure> {
        let start = Instant::now();
        let options = RendererOptions {
            // One way of antialiasing is one set of shaders to compile; this one needs no tables either.
            antialiasing_support: AaSupport::area_only(),
            ..RendererOptions::default()
        };
        // Sharing a device takes one wgpu: were vello's another than Foveal's, this would not compile.
        let renderer =
            Renderer::new(&host.device, options).map_err(|error| Failure::failed("vello", error))?;
        host.check("vello")?;
        Ok(Self { renderer, ready_in: start.elapsed() })
    }

    /// An image to draw whose pixels are those of `texture`, which stays on the device.
    pub(crate) fn image(&mut self, texture: &wgpu::Texture) -> ImageData {
        self.renderer.register_texture(texture.clone())
    }

    /// Draws a scene and reads it back.
    pub(crate) async fn paint(
        &mut self,
        host: &Host,
        engine: &Engine,
        scene: &Scene,
        (width, height): (u32, u32),
        paper: Color,
    ) -> Result<RgbImage, Failure> {
        let max = host.device.limits().max_texture_dimension_2d;
        if width.max(height) > max {
            let message = format!("{width} x {height} pixels, at most {max} are possible");
            return Err(Failure::usage("the picture", message));
        }
        let size = wgpu::Extent3d { width, height, depth_or_array_layers: 1 };
        let texture = host.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("picture"),
            size,
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let params = RenderParams { base_color: paper, width, height, antialiasing_method: AaConfig::Area };
        self.renderer
            .render_to_texture(&host.device, &host.queue, scene, &view, &params)
            .map_err(|error| Failure::failed("vello", error))?;
        host.wait("vello")?;
        pixels(host, engine, &texture).await
    }
}
