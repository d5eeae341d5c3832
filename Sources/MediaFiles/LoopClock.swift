// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Walks over a clip's timeline: the next picture or packet of sound, in the order of their deadlines.
///
/// Whoever plays the clip waits until ``nextDeadline``, takes ``next()``, sends, and repeats. It knows no
/// clock.
public struct LoopClock: Sendable {
  /// What is due.
  public enum Slot: Hashable, Sendable {
    /// A picture of the clip.
    case video(ClipTimeline.VideoSlot)
    /// A packet of the clip's sound, or silence.
    case audio(ClipTimeline.AudioSlot)

    /// When it is due.
    public var deadline: Instant {
      switch self {
      case .video(let slot): slot.deadline
      case .audio(let slot): slot.deadline
      }
    }
  }

  /// Where each slot lies in time.
  public let timeline: ClipTimeline
  private let keyFrameIndices: [Int]
  private let frameCount: Int
  private var nextVideoIndex: Int64 = 0
  private var nextAudioIndex: Int64 = 0

  /// Starts at slot 0, which is due at `start`.
  public init(clip: MediaClip, start: Instant) {
    timeline = ClipTimeline(clip: clip, start: start)
    frameCount = clip.video?.frames.count ?? 0
    keyFrameIndices = clip.video?.frames.indices.filter { clip.video?.frames[$0].isKeyFrame == true } ?? []
  }

  /// What comes next, without taking it; `nil` only for a clip with nothing in it. Of two that are due
  /// together the picture comes first.
  public var upcoming: Slot? {
    let video = timeline.hasVideo ? timeline.video(at: nextVideoIndex) : nil
    let audio = timeline.hasAudio ? timeline.audio(at: nextAudioIndex) : nil
    guard let video else { return audio.map(Slot.audio) }
    guard let audio else { return .video(video) }
    return audio.deadline < video.deadline ? .audio(audio) : .video(video)
  }

  /// When the next slot is due; `nil` only for a clip with nothing in it.
  public var nextDeadline: Instant? { upcoming?.deadline }

  /// Takes the next slot.
  public mutating func next() -> Slot? {
    guard let slot = upcoming else { return nil }
    switch slot {
    case .video: nextVideoIndex += 1
    case .audio: nextAudioIndex += 1
    }
    return slot
  }

  /// Leaves out everything that was due before `instant`, for a player that could not run (a suspended
  /// machine): better a jump than a burst. Pictures go on at the next key frame, since those between cannot
  /// be decoded without what was left out.
  ///
  /// - Returns: how many slots were left out.
  @discardableResult
  public mutating func skip(to instant: Instant) -> Int64 {
    var skipped: Int64 = 0
    if timeline.hasVideo {
      let first = timeline.firstVideoIndex(notBefore: instant)
      if first > nextVideoIndex {
        let target = keyFrameSlot(notBefore: first)
        skipped += target - nextVideoIndex
        nextVideoIndex = target
      }
    }
    if timeline.hasAudio {
      let first = timeline.firstAudioIndex(notBefore: instant)
      if first > nextAudioIndex {
        skipped += first - nextAudioIndex
        nextAudioIndex = first
      }
    }
    return skipped
  }

  /// The first slot from `index` on that shows a key frame. Frame 0 is one, so the next round has it at the
  /// latest.
  private func keyFrameSlot(notBefore index: Int64) -> Int64 {
    let position = Int(index % Int64(frameCount))
    let round = index - Int64(position)
    return round + Int64(keyFrameIndices.first { $0 >= position } ?? frameCount)
  }
}
