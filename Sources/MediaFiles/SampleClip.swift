// SPDX-License-Identifier: Apache-2.0

import CSampleClip
import SansIO

/// The clip inside the program: 20 s of 1280x720 at 25 fps with a beep a second, which loop without a jump.
///
/// It is read on first use, straight from the program's constant memory.
public enum SampleClip {
  /// 500 pictures, a key frame every 25.
  public static let video: VideoClip = read { () throws(MediaFormatError) in
    let memory = UnsafeRawBufferPointer(start: csc_video_bytes(), count: csc_video_byte_count())
    return try H264FileReader.read(memory.bytes, frameRate: .standard)
  }

  /// 1,000 packets of 20 ms, stereo.
  public static let audio: AudioClip = read { () throws(MediaFormatError) in
    let memory = UnsafeRawBufferPointer(start: csc_audio_bytes(), count: csc_audio_byte_count())
    return try OggOpusReader.read(memory.bytes)
  }

  /// Pictures and sound.
  public static var clip: MediaClip { MediaClip(video: video, audio: audio) }

  private static func read<Clip>(_ body: () throws(MediaFormatError) -> Clip) -> Clip {
    do throws(MediaFormatError) {
      return try body()
    } catch {
      preconditionFailure("the sample clip inside the program \(error)")
    }
  }
}
