//! Scene to file: vello draws into a texture of the host's, which is read back and written as PNG.

use std::time::{Duration, Instant};

use foveal::{Dtype, Engine, TensorData, wgpu};
use foveal_examples_common::{Failure, Host, Place};
use vello::kurbo::Point;
use vello::peniko::{Color, ImageData};
use vello::{AaConfig, AaSupport, RenderParams, Renderer, RendererOptions, Scene};

/// Bytes of a pixel on the device.
const TEXEL: u32 = 4;

/// vello on the host's device.
pub(crate) struct Painter {
    renderer: Renderer,
    /// Compiling vello's shaders.
    pub(crate) ready_in: Duration,
}

/// A picture in memory, three bytes a pixel.
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    rgb: Vec<u8>,
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
    ) -> Result<Picture, Failure> {
        let most = host.device.limits().max_texture_dimension_2d;
        if width.max(height) > most {
            let message = format!("{width} x {height} pixels, at most {most} are possible");
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
        let rgb = read(host, engine, &texture).await?;
        Ok(Picture { width, height, rgb })
    }
}

/// A texture's pixels, without their alpha.
async fn read(host: &Host, engine: &Engine, texture: &wgpu::Texture) -> Result<Vec<u8>, Failure> {
    // Rows in buffers begin at multiples of 256 bytes.
    let row = texture.width() * TEXEL;
    let padded = row.next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
    let buffer = host.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("pixels"),
        size: u64::from(padded) * u64::from(texture.height()),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let mut encoder = host.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(padded), rows_per_image: None };
    encoder.copy_texture_to_buffer(
        texture.as_image_copy(),
        wgpu::TexelCopyBufferInfo { buffer: &buffer, layout },
        texture.size(),
    );
    host.submit(encoder, "the picture's pixels")?;
    let shape = [texture.height() as usize, padded as usize];
    // The engine reads any buffer of its device back, and it has the buffer for that already.
    let pixels = engine.read_back(&buffer, &shape, Dtype::U8).await?;
    let TensorData::U8(bytes) = pixels.data() else {
        return Err(Failure::failed("the picture's pixels", "bytes are expected"));
    };
    let rows = bytes.chunks_exact(padded as usize);
    let texels = rows.flat_map(|padded| padded[..row as usize].as_chunks::<{ TEXEL as usize }>().0);
    Ok(texels.flat_map(|&[r, g, b, _]| [r, g, b]).collect())
}

impl Picture {
    /// Red, green and blue at a point within the picture.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub(crate) fn colour_at(&self, at: Point) -> Option<[u8; 3]> {
        let (x, y) = (at.x as usize, at.y as usize);
        let (pixels, _) = self.rgb.as_chunks::<3>();
        pixels.chunks(self.width as usize).nth(y)?.get(x).copied()
    }

    /// Writes the picture as PNG into `place` and gives that its name. Returns the bytes written.
    pub(crate) fn write(&self, place: Place) -> Result<usize, Failure> {
        place.write(&self.rgb, self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_the_pixel_that_a_point_lies_in() {
        let picture = Picture { width: 2, height: 1, rgb: vec![255, 0, 0, 0, 0, 255] };
        assert_eq!(picture.colour_at(Point::new(1.5, 0.5)), Some([0, 0, 255]));
        assert_eq!(picture.colour_at(Point::new(2.0, 0.5)), None);
    }
}
