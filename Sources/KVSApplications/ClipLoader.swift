// SPDX-License-Identifier: Apache-2.0

import Logging
import MediaFiles

/// Turns the settings about media into a clip.
enum ClipLoader {
  /// Reads what `--video` and `--audio` name; without either the sample clip inside the program is played.
  ///
  /// - Throws: ``UsageError`` with one sentence that names the flag.
  static func load(_ settings: Settings, flags: MasterFlags, logger: Logger) throws(UsageError) -> MediaClip {
    let videoPath = settings.text(.video, flag: flags.video)
    let audioPath = settings.text(.audio, flag: flags.audio)
    guard videoPath != nil || audioPath != nil else { return SampleClip.clip }
    let frameRate =
      try settings.value(.framesPerSecond, flag: flags.framesPerSecond, FrameRate.init(parsing:)) ?? .standard
    do throws(MediaFileError) {
      let video = try videoPath.map { path throws(MediaFileError) in
        try MediaSourceFile.video(at: path, frameRate: frameRate)
      }
      for warning in video?.warnings ?? [] { logger.warning("\(Setting.video.flag): \(warning)") }
      let audio = try audioPath.map { path throws(MediaFileError) in try MediaSourceFile.audio(at: path) }
      return MediaClip(video: video, audio: audio)
    } catch {
      let setting = error.path == videoPath ? Setting.video : Setting.audio
      throw UsageError("\(setting.flag): \(error)")
    }
  }
}
