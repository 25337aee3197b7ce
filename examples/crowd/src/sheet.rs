//! The contact sheet: pictures read back once, with captions, as PNG.

use foveal::{Engine, wgpu};
use foveal_examples_common::{Failure, Host, pixels};
use image::{Rgb, RgbImage, imageops};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, RasterizedChar, get_raster, get_raster_width};

use crate::view::{COLUMNS, ROWS};

/// Around everything, and between pictures.
const MARGIN: u32 = 20;
const GAP: u32 = 8;
/// Room for the title.
const HEAD: u32 = 40;
/// Room for a caption below its picture.
const CAPTION: u32 = 24;

const PAPER: Rgb<u8> = Rgb([7, 9, 13]);
const INK: Rgb<u8> = Rgb([222, 226, 235]);
const FAINT: Rgb<u8> = Rgb([128, 136, 154]);

#[derive(Clone, Copy)]
struct Font(FontWeight, RasterHeight);

const TITLE: Font = Font(FontWeight::Bold, RasterHeight::Size24);
const BODY: Font = Font(FontWeight::Regular, RasterHeight::Size16);

/// Texts of the sheet.
pub(crate) struct Captions {
    pub(crate) title: String,
    pub(crate) note: String,
    /// Of each picture, in the order of the sheet.
    pub(crate) pictures: Vec<String>,
}

/// Reads the pictures, which lie in `texture` without gaps, and puts captions to them.
pub(crate) async fn make(
    host: &Host,
    engine: &Engine,
    texture: &wgpu::Texture,
    captions: &Captions,
) -> Result<RgbImage, Failure> {
    Ok(lay_out(&pixels(host, engine, texture).await?, captions))
}

/// The sheet of these pictures.
fn lay_out(pictures: &RgbImage, captions: &Captions) -> RgbImage {
    let (width, height) = (pictures.width() / COLUMNS, pictures.height() / ROWS);
    let sheet_width = 2 * MARGIN + COLUMNS * width + (COLUMNS - 1) * GAP;
    let sheet_height = 2 * MARGIN + HEAD + ROWS * (height + CAPTION) + (ROWS - 1) * GAP;
    let mut sheet = RgbImage::from_pixel(sheet_width, sheet_height, PAPER);
    write(&mut sheet, [MARGIN, MARGIN], &captions.title, TITLE, INK);
    let note = sheet_width.saturating_sub(MARGIN + width_of(&captions.note, BODY));
    if note > 2 * MARGIN + width_of(&captions.title, TITLE) {
        write(&mut sheet, [note, MARGIN + 6], &captions.note, BODY, FAINT);
    }
    for index in 0..COLUMNS * ROWS {
        let (column, row) = (index % COLUMNS, index / COLUMNS);
        let (x, y) = (MARGIN + column * (width + GAP), MARGIN + HEAD + row * (height + CAPTION + GAP));
        let picture = imageops::crop_imm(pictures, column * width, row * height, width, height);
        imageops::replace(&mut sheet, &*picture, i64::from(x), i64::from(y));
        if let Some(caption) = captions.pictures.get(index as usize) {
            write(&mut sheet, [x, y + height + 4], caption, BODY, FAINT);
        }
    }
    sheet
}

/// Pixels that a text is wide.
fn width_of(text: &str, Font(weight, height): Font) -> u32 {
    let letters = text.chars().count() * get_raster_width(weight, height);
    u32::try_from(letters).unwrap_or(u32::MAX)
}

/// Text with its upper left at a point.
fn write(image: &mut RgbImage, [x, y]: [u32; 2], text: &str, font: Font, ink: Rgb<u8>) {
    let mut start = x;
    for character in text.chars() {
        let glyph = get_raster(character, font.0, font.1).or_else(|| get_raster('?', font.0, font.1));
        for (down, row) in (0..).zip(glyph.iter().flat_map(RasterizedChar::raster)) {
            for (along, &cover) in (0..).zip(row.iter()) {
                if let Some(pixel) = image.get_pixel_mut_checked(start + along, y + down) {
                    for (below, above) in pixel.0.iter_mut().zip(ink.0) {
                        let (a, b, cover) = (u16::from(*below), u16::from(above), u16::from(cover));
                        *below = u8::try_from((a * (255 - cover) + b * cover) / 255).unwrap_or(u8::MAX);
                    }
                }
            }
        }
        start += width_of("x", font);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captions() -> Captions {
        Captions { title: "title".into(), note: "note".into(), pictures: vec!["caption".into(); 6] }
    }

    #[test]
    fn pictures_lie_in_order_and_captions_beside_them() {
        let (width, height) = (200, 50);
        let shade = |x: u32, y: u32| u8::try_from(100 + y / height * COLUMNS + x / width).unwrap();
        let pictures = RgbImage::from_fn(COLUMNS * width, ROWS * height, |x, y| Rgb([shade(x, y); 3]));
        let sheet = lay_out(&pictures, &captions());
        for index in 0..6 {
            let (column, row) = (index % COLUMNS, index / COLUMNS);
            let (x, y) = (MARGIN + column * (width + GAP), MARGIN + HEAD + row * (height + CAPTION + GAP));
            let mut inside = (0..height).flat_map(|down| (0..width).map(move |along| (x + along, y + down)));
            assert!(inside.all(|(x, y)| sheet.get_pixel(x, y).0 == [100 + u8::try_from(index).unwrap(); 3]));
            assert_eq!(*sheet.get_pixel(x - 1, y - 1), PAPER);
        }
    }
}
