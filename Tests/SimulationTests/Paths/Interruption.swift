// SPDX-License-Identifier: Apache-2.0

import RTP
import SansIO
import WebRTCCore
import WebRTCTesting

/// How a call got over a fault, seen from the viewer's loudspeaker.
struct Interruption: CustomStringConvertible {
  /// From the fault until either side noticed: it left `connected`, began to negotiate or took another path.
  var detection: TimeDelta?
  /// From the fault until sound came again for good; `nil` if it never did.
  var recovery: TimeDelta?
  /// The longest time without sound.
  var gap: TimeDelta

  /// From noticing to sound. It is nothing where sound came again before anything was to be noticed.
  var repair: TimeDelta? {
    guard let recovery else { return nil }
    return max(recovery - (detection ?? recovery), .zero)
  }

  var description: String {
    func text(_ time: TimeDelta?) -> String { time.map { "\($0.inMilliseconds) ms" } ?? "never" }
    return "noticed after \(text(detection)), sound after \(text(recovery)), gap \(text(gap))"
  }
}

extension Call {
  /// Schedules sound, a packet each 20 ms from now on.
  func sendSound(for duration: TimeDelta, interval: TimeDelta = .milliseconds(20)) {
    let (start, audio) = (run.now, masterAudio)
    for number in 0..<Int(duration.nanoseconds / interval.nanoseconds) {
      let time = interval * Int64(number)
      run.schedule(after: time) { run in
        let packet = OpusPacketizer().packetize(
          packet: Self.opusPacket(number),
          timestamp: UInt32(truncatingIfNeeded: 48 * Int(time.inMilliseconds)),
          captureTime: start + time)
        run.answerer.core.send(packet, on: audio, at: run.now)
      }
    }
  }

  /// When sound arrived at the viewer, oldest first.
  var soundArrivals: [Instant] {
    viewer.frames.compactMap { $0.transceiver == viewerAudio ? $0.arrival : nil }
  }

  /// The longest time without sound between two instants.
  func longestGap(from start: Instant, to end: Instant) -> TimeDelta {
    let times = [start] + soundArrivals.filter { $0 > start && $0 < end } + [end]
    return zip(times, times.dropFirst()).map { $1 - $0 }.max() ?? .zero
  }

  /// Sends sound, lets the fault happen after two seconds of it, and watches what follows.
  func interruption(
    watching duration: TimeDelta = .seconds(40), by fault: (Simulation) -> Void
  ) -> Interruption {
    sendSound(for: duration + .seconds(2))
    run.run(atMost: .seconds(2))
    let (start, routes) = (run.now, [viewer, master].map { $0.core.selectedRoute })
    fault(run)
    var result = Interruption(gap: .zero)
    run.run(atMost: duration) { run in
      let hasNoticed = [viewer, master].enumerated().contains { index, peer in
        peer.connectionState != .connected || peer.core.signalingState != .stable
          || (peer.core.selectedRoute != nil && peer.core.selectedRoute != routes[index])
      }
      if hasNoticed, result.detection == nil { result.detection = run.now - start }
      return false
    }
    // What was in flight at the fault does not count.
    let arrivals = soundArrivals
    result.gap = longestGap(from: start - .milliseconds(20), to: run.now)
    let resumption = Array(zip(arrivals, arrivals.dropFirst())).last {
      $1 > start && $1 - $0 > .milliseconds(200)
    }?
    .1
    if let last = arrivals.last, run.now - last < .milliseconds(500) {
      result.recovery = resumption.map { $0 - start } ?? .zero
    }
    return result
  }
}
