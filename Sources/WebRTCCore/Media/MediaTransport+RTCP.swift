// SPDX-License-Identifier: Apache-2.0

import RTP
import SDP
import SRTP
import SansIO

/// What RTCP has to be sent.
struct OutgoingRTCP {
  /// Sender and receiver reports.
  var reportIsDue = false
  /// BYE for every stream of ours.
  var goodbyeIsDue = false
}

extension MediaTransport {
  /// Plaintext bytes of one compound packet at most: a datagram less SRTCP's index and tag.
  static var compoundByteCountMax: Int { 1160 }
  /// Sources that one report may be about, by the width of RTCP's count field (RFC 3550 §6.4.1).
  static var reportBlocksMax: Int { 31 }

  // MARK: Receiving

  mutating func receiveRTCP(_ datagram: RawSpan, at now: Instant) {
    guard var keys = unprotector.take() else { return }
    let packets = Self.unprotect(datagram, with: &keys, drops: &drops)
    unprotector = consume keys
    for packet in packets { receive(packet, at: now) }
  }

  private static func unprotect(
    _ datagram: RawSpan, with keys: inout SRTPUnprotector, drops: inout DropCounters<MediaDropCause>
  ) -> [RTCPPacket] {
    do throws(SRTPError) {
      let compound = try keys.unprotectRTCP(datagram)
      do throws(ParseError) { return try RTCPPackets.all(in: compound) } catch { drops[.malformedRTCP] += 1 }
    } catch {
      drops[.srtp] += 1
    }
    return []
  }

  /// Handles one packet of a compound. An unknown one never ends the compound.
  private mutating func receive(_ packet: RTCPPacket, at now: Instant) {
    switch packet {
    case .senderReport(let report):
      for index in receivers.indices { receivers[index].receive(report, at: now) }
      for block in report.reportBlocks { receive(block, at: now) }
    case .receiverReport(let report): for block in report.reportBlocks { receive(block, at: now) }
    case .nack(let nack): receive(nack, at: now)
    case .pictureLossIndication(let indication):
      requestKeyFrame(ofSender: indication.mediaSSRC, at: now) { $0.plisReceived += 1 }
    case .fullIntraRequest(let request):
      for entry in request.entries { requestKeyFrame(ofSender: entry.ssrc, at: now) { $0.firsReceived += 1 } }
    case .malformed: drops[.malformedRTCP] += 1
    // A goodbye is news only to mixers: a peer that ends a connection also closes DTLS.
    case .goodbye, .sourceDescription, .remb, .transportFeedback, .unknown: break
    }
  }

  private mutating func receive(_ block: ReportBlock, at now: Instant) {
    guard let index = senders.firstIndex(where: { $0.ssrc == block.ssrc }) else {
      if !senders.contains(where: { $0.rtxSSRC == block.ssrc }) { drops[.unknownReportedSource] += 1 }
      return
    }
    let clockRate = Double(senders[index].codec.codec.clockRateHertz)
    let measured = RTCPRoundTrip.time(
      lastSenderReport: block.lastSenderReport, delay: block.delaySinceLastSenderReport,
      arrival: ntpTimestamp(at: now))
    let before = senders[index].remoteReport
    senders[index].receive(
      report: RemoteReport(
        fractionLost: Double(block.fractionLost) / 256, packetsLost: Int64(block.cumulativeLost),
        jitterSeconds: clockRate > 0 ? Double(block.jitter) / clockRate : 0,
        roundTripTime: measured ?? before?.roundTripTime,
        roundTripTimeMeasurements: (before?.roundTripTimeMeasurements ?? 0) + (measured == nil ? 0 : 1)))
  }

  private mutating func receive(_ nack: GenericNACK, at now: Instant) {
    guard let index = senders.firstIndex(where: { $0.ssrc == nack.mediaSSRC }) else {
      drops[.unknownReportedSource] += 1
      return
    }
    senders[index].receive(nack: nack, roundTripTime: roundTripTime, at: now)
  }

  private mutating func requestKeyFrame(
    ofSender ssrc: SSRC, at now: Instant, count: (inout SendStreamCounters) -> Void
  ) {
    guard let index = senders.firstIndex(where: { $0.ssrc == ssrc }) else {
      drops[.unknownReportedSource] += 1
      return
    }
    count(&senders[index].counters)
    if let last = senders[index].lastKeyFrameRequest, now - last < Self.keyFrameRequestInterval { return }
    senders[index].lastKeyFrameRequest = now
    emit(.keyFrameRequested(senders[index].transceiver))
  }

  // MARK: Sending

  /// Writes one RTCP packet that is due: goodbye, reports, then feedback of the receivers.
  mutating func writeRTCP(into out: inout OutputRawSpan, at now: Instant) -> Int? {
    guard let plaintext = nextRTCP(at: now) else { return nil }
    let start = out.byteCount
    do throws(SRTPError) { try protector?.protectRTCP(plaintext.rawSpan, into: &out) } catch {
      drops[.srtp] += 1
      return nil
    }
    return out.byteCount - start
  }

  private mutating func nextRTCP(at now: Instant) -> [UInt8]? {
    if outgoingRTCP.goodbyeIsDue {
      outgoingRTCP.goodbyeIsDue = false
      return goodbye(at: now)
    }
    if outgoingRTCP.reportIsDue {
      outgoingRTCP.reportIsDue = false
      if let reports = reports(at: now) { return reports }
    }
    guard !isClosing else { return nil }
    for index in receivers.indices {
      if let feedback = receivers[index].pollFeedback(at: now) { return feedback }
    }
    return nil
  }

  private func ntpTimestamp(at now: Instant) -> NTPTimestamp {
    NTPTimestamp(unixNanoseconds: wallClockNanosecondsAtZero &+ now.nanoseconds)
  }

  /// Sender reports of all streams that have sent, receiver reports about all that were received, and the
  /// canonical name (RFC 3550 §6.1).
  private mutating func reports(at now: Instant) -> [UInt8]? {
    var blocks: [ReportBlock] = []
    for index in receivers.indices where blocks.count < Self.reportBlocksMax {
      if let block = receivers[index].makeReportBlock(at: now) { blocks.append(block) }
    }
    let active = senders.filter { $0.isActive && $0.lastCapture != nil }
    guard !active.isEmpty || !blocks.isEmpty else { return nil }
    return [UInt8](writing: Self.compoundByteCountMax) { out in
      var sources: [SSRC] = []
      for sender in active {
        guard let report = senderReport(of: sender, blocks: sources.isEmpty ? blocks : [], at: now),
          out.freeCapacity >= report.byteCount + descriptionByteCount(sources.count + 1)
        else { break }
        report.write(into: &out)
        sources.append(sender.ssrc)
      }
      if sources.isEmpty, let reporter = receivers.first?.reporterSSRC {
        ReceiverReport(ssrc: reporter, reportBlocks: blocks).write(into: &out)
        sources.append(reporter)
      }
      SourceDescription(chunks: sources.map { .init(ssrc: $0, canonicalName: cname) }).write(into: &out)
    }
  }

  private func descriptionByteCount(_ sourceCount: Int) -> Int {
    4 + sourceCount * (8 + cname.utf8.count + 4)
  }

  private func senderReport(of sender: SendStream, blocks: [ReportBlock], at now: Instant) -> SenderReport? {
    guard let timestamp = sender.timestamp(at: now) else { return nil }
    return SenderReport(
      ssrc: sender.ssrc, ntpTimestamp: ntpTimestamp(at: now), rtpTimestamp: timestamp,
      packetCount: UInt32(truncatingIfNeeded: sender.counters.packetsSent),
      octetCount: UInt32(truncatingIfNeeded: sender.counters.bytesSent), reportBlocks: blocks)
  }

  /// A compound of an empty receiver report and BYE (RFC 3550 §6.6).
  private func goodbye(at now: Instant) -> [UInt8]? {
    guard let first = senders.first else { return nil }
    let sources = senders.prefix(Self.reportBlocksMax).map(\.ssrc)
    return [UInt8](writing: Self.compoundByteCountMax) { out in
      ReceiverReport(ssrc: first.ssrc, reportBlocks: []).write(into: &out)
      Goodbye(sources: Array(sources)).write(into: &out)
    }
  }
}
