//! A texture, read back.

use foveal::{Dtype, Engine, TensorData, wgpu};
use image::RgbImage;

use crate::{Failure, Host};

/// Bytes of a pixel on the device.
const TEXEL: u32 = 4;

/// The pixels of a texture of four bytes each, without their alpha. `engine` is on the host's device.
///
/// # Errors
/// [`Failure`], if the device does not do it.
pub async fn pixels(host: &Host, engine: &Engine, texture: &wgpu::Texture) -> Result<RgbImage, Failure> {
    const DOING: &str = "the picture's pixels";
    let (width, height) = (texture.width(), texture.height());
    // Rows in buffers begin at multiples of 256 bytes.
    let row = (width * TEXEL) as usize;
    let padded = (width * TEXEL).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
    let buffer = host.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("pixels"),
        size: u64::from(padded) * u64::from(height),
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
    host.submit(encoder, DOING)?;
    // The engine reads any buffer of its device back, and it has the buffer for that already.
    let bytes = engine.read_back(&buffer, &[height as usize, padded as usize], Dtype::U8).await?;
    let wrong = || Failure::failed(DOING, "bytes are expected");
    let TensorData::U8(bytes) = bytes.data() else { return Err(wrong()) };
    let rows = bytes.chunks_exact(padded as usize);
    let texels = rows.flat_map(|padded| padded[..row].as_chunks::<{ TEXEL as usize }>().0);
    let rgb = texels.flat_map(|&[r, g, b, _]| [r, g, b]).collect();
    RgbImage::from_raw(width, height, rgb).ok_or_else(wrong)
}
