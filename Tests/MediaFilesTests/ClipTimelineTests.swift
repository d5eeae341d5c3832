// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import MediaFiles

@Suite("Clip timeline")
struct ClipTimelineTests {
  private static let start = Instant(nanoseconds: 1_234_567_891)

  private static func timeline(
    rate: FrameRate = .standard, frames: Int = 500, ticks: Int = 960, packets: Int = 1000
  ) -> ClipTimeline {
    ClipTimeline(
      start: start, frameRate: rate, frameCount: frames, packetTicks: ticks, packetCount: packets)
  }

  @Test("Three rounds of the sample clip: every step is 3,600 and 960 units, also over the loop's end")
  func noJump() {
    let timeline = ClipTimeline(clip: SampleClip.clip, start: Self.start)
    for index in Int64(1)...1500 {
      let slot = timeline.video(at: index)
      let previous = timeline.video(at: index - 1)
      #expect(slot.timestamp &- previous.timestamp == 3600)
      #expect(slot.deadline - previous.deadline == .milliseconds(40))
      #expect(slot.frameIndex == Int(index % 500))
    }
    for index in Int64(1)...3000 {
      let slot = timeline.audio(at: index)
      let previous = timeline.audio(at: index - 1)
      #expect(slot.timestamp &- previous.timestamp == 960)
      #expect(slot.deadline - previous.deadline == .milliseconds(20))
      #expect(slot.packetIndex == Int(index % 1000))
    }
  }

  @Test("Nothing drifts: 30000/1001 is exact after 1,000 hours")
  func noDrift() throws {
    let rate = try #require(FrameRate(30_000, over: 1001))
    let timeline = Self.timeline(rate: rate)
    let seconds: Int64 = 1001 * 3600
    let index = seconds / 1001 * 30_000
    #expect(timeline.video(at: index).deadline == Self.start + .seconds(seconds))
    #expect(timeline.video(at: index).timestamp == UInt32(truncatingIfNeeded: seconds * 90_000))
    for next in index..<(index + 1000) {
      let step = timeline.video(at: next + 1).timestamp &- timeline.video(at: next).timestamp
      #expect(step == 3003)
    }
  }

  @Test("Ten years on, nothing overflows")
  func tenYears() throws {
    let seconds: Int64 = 10 * 366 * 86_400
    let rate = try #require(FrameRate(240_000, over: 1001))
    let timeline = Self.timeline(rate: rate, frames: 1_000_000)
    #expect(timeline.video(at: seconds * 240).deadline > Self.start + .seconds(seconds))
    #expect(timeline.audio(at: seconds * 50).deadline == Self.start + .seconds(seconds))
  }

  @Test("Longer sound is cut at the end of the video")
  func longerSound() {
    let timeline = Self.timeline(frames: 50, packets: 1000)  // 2 s of pictures, 20 s of sound
    for index in Int64(0)..<1000 { #expect(timeline.audio(at: index).packetIndex == Int(index % 100)) }
  }

  @Test("Shorter sound is followed by silence until the video starts over")
  func shorterSound() {
    let timeline = Self.timeline(frames: 50, packets: 30)
    for index in Int64(0)..<1000 {
      let expected = index % 100 < 30 ? Int(index % 100) : nil
      #expect(timeline.audio(at: index).packetIndex == expected)
    }
  }

  @Test("Where the video is no whole number of packets, sound stays in step within one packet for ever")
  func unevenLengths() throws {
    let rate = try #require(FrameRate(30_000, over: 1001))
    let timeline = Self.timeline(rate: rate, frames: 7, packets: 100_000)
    let loop = 7.0 * 1001 / 30_000
    for index in (Int64(10_000_000)..<10_002_000) {
      let moment = (Double(index) * 0.02).truncatingRemainder(dividingBy: loop)
      let packet = try #require(timeline.audio(at: index).packetIndex)
      let offset = moment - Double(packet) * 0.02
      #expect(offset > -0.000_1 && offset < 0.020_1)
    }
  }

  @Test("Sound alone loops at its own length")
  func soundAlone() {
    let timeline = Self.timeline(frames: 0, packets: 7)
    #expect(timeline.audio(at: 20).packetIndex == 6)
    #expect(timeline.audio(at: 21).packetIndex == 0)
  }

  @Test(
    "The first slot not before an instant",
    arguments: [Int64(-5), 0, 1, 39_999_999, 40_000_000, 7_777_777_777])
  func firstIndex(offset: Int64) {
    let timeline = Self.timeline()
    let instant = Self.start + TimeDelta(nanoseconds: offset)
    let index = timeline.firstVideoIndex(notBefore: instant)
    #expect(timeline.video(at: index).deadline >= instant)
    #expect(index == 0 || timeline.video(at: index - 1).deadline < instant)
    let packet = timeline.firstAudioIndex(notBefore: instant)
    #expect(timeline.audio(at: packet).deadline >= instant)
    #expect(packet == 0 || timeline.audio(at: packet - 1).deadline < instant)
  }
}

@Suite("Loop clock")
struct LoopClockTests {
  @Test("It hands out both tracks in the order of their deadlines, pictures first")
  func order() {
    var clock = LoopClock(clip: SampleClip.clip, start: .zero)
    var videoCount = 0
    var audioCount = 0
    var last = Instant.zero
    while videoCount + audioCount < 4500 {
      let deadline = clock.nextDeadline
      guard let slot = clock.next() else { break }
      #expect(slot.deadline == deadline && slot.deadline >= last)
      last = slot.deadline
      switch slot {
      case .video: videoCount += 1
      case .audio: audioCount += 1
      }
    }
    #expect(videoCount == 1500 && audioCount == 3000)
  }

  @Test("After a pause it goes on at the next key frame and with the sound of that moment")
  func skip() {
    var clock = LoopClock(clip: SampleClip.clip, start: .zero)
    _ = clock.next()
    let skipped = clock.skip(to: .zero + .milliseconds(30_010))
    #expect(skipped > 0)
    var firstVideo: ClipTimeline.VideoSlot?
    var firstAudio: ClipTimeline.AudioSlot?
    while firstVideo == nil || firstAudio == nil {
      switch clock.next() {
      case .video(let slot): firstVideo = firstVideo ?? slot
      case .audio(let slot): firstAudio = firstAudio ?? slot
      case nil: return
      }
    }
    #expect(firstVideo?.frameIndex == 275)
    #expect(firstVideo?.deadline == .zero + .seconds(31))
    #expect(firstAudio?.deadline == .zero + .milliseconds(30_020))
    let again = clock.skip(to: .zero)
    #expect(again == 0)
  }

  @Test("A clip with nothing in it has no deadline")
  func nothing() {
    var clock = LoopClock(clip: MediaClip(video: nil, audio: nil), start: .zero)
    #expect(clock.nextDeadline == nil)
    let slot = clock.next()
    #expect(slot == nil)
  }
}

@Suite("Frame rate")
struct FrameRateTests {
  @Test(
    "What people type",
    arguments: [
      ("25", Int64(25), Int64(1)), ("29.97", 30_000, 1001), ("30000/1001", 30_000, 1001), ("12.5", 125, 10),
      ("0.5", 5, 10), ("240", 240, 1),
    ])
  func parsing(text: String, numerator: Int64, denominator: Int64) {
    let rate = FrameRate(parsing: text)
    #expect(rate?.numerator == numerator && rate?.denominator == denominator)
  }

  @Test(
    "What is no rate",
    arguments: [
      "", "0", "-1", "abc", "25fps", "1/0", "0/1", "241", "1e3", "1.2345", "/", "9999999999999999999", ".",
    ])
  func refused(text: String) { #expect(FrameRate(parsing: text) == nil) }
}
