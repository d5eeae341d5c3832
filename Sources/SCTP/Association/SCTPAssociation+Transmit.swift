// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// What was written into the memory that the caller lent: packets side by side.
public struct PacketBatch: Hashable, Sendable {
  /// Bytes of each packet but the last, which may be shorter.
  public let packetByteCount: Int
  /// How many packets, at least 1.
  public let packetCount: Int
}

/// Packets out (RFC 9260 §6.1, §6.10): handshake, control chunks, SACK, retransmissions, new data.
extension SCTPAssociation {
  /// Writes packets as long as there is something to send and room for a whole one; `nil` when nothing was
  /// written. All packets but the last are ``Configuration/packetByteCountMax`` long or there is one only,
  /// which is what segmentation offload takes.
  public mutating func pollTransmit(into output: inout OutputRawSpan, at now: Instant) -> PacketBatch? {
    var (first, count) = (0, 0)
    while count < SCTPLimits.batchPacketsMax, output.freeCapacity >= configuration.packetByteCountMax {
      let written = writePacket(into: &output, at: now)
      guard written > 0 else { break }
      statistics.packetsSent += 1
      if count == 0 { first = written }
      count += 1
      guard written == configuration.packetByteCountMax else { break }
    }
    return count == 0 ? nil : PacketBatch(packetByteCount: first, packetCount: count)
  }

  /// Queues a chunk for the next packet. A peer that makes us answer faster than we send gets no answer.
  mutating func queueControl(_ chunk: [UInt8]) {
    guard controlChunks.count < SCTPLimits.controlChunksMax else {
      drops[.replyQueueFull] += 1
      return
    }
    controlChunks.append(chunk)
  }

  /// Writes one packet; returns its length, 0 when there is nothing to send.
  private mutating func writePacket(into output: inout OutputRawSpan, at now: Instant) -> Int {
    if !replies.isEmpty {
      let packet = replies.removeFirst()
      output.write(packet)
      return packet.count
    }
    guard state != .closed, state != .cookieWait else { return 0 }
    let start = output.byteCount
    let end = start + configuration.packetByteCountMax
    let header = CommonHeader(
      sourcePort: configuration.localPort, destinationPort: configuration.remotePort,
      verificationTag: peerTag)
    header.write(into: &output)
    let echoesCookie = isCookieEchoPending
    if echoesCookie {
      output.write(cookieEcho)
      isCookieEchoPending = false
    } else if state == .cookieEchoed {
      output.removeLast(CommonHeader.byteCount)
      return 0
    }
    if mayTransmitData { giveUpExpired(at: now) }
    writeControl(into: &output, end: end, at: now)
    if state == .cookieEchoed || mayTransmitData { writeData(into: &output, end: end, at: now) }
    let length = output.byteCount - start
    guard length > CommonHeader.byteCount else {
      output.removeLast(length)
      return 0
    }
    // RFC 9653 §5.1: a COOKIE ECHO always has a checksum.
    if echoesCookie || !capabilities.contains(.zeroChecksum) { CommonHeader.seal(&output, from: start) }
    return length
  }

  var mayTransmitData: Bool {
    state == .established || state == .shutdownPending || state == .shutdownReceived
  }

  /// SACK first, as §6.10 wants control chunks before DATA, then what else waits.
  private mutating func writeControl(into output: inout OutputRawSpan, end: Int, at now: Instant) {
    queueResetRequest(at: now)
    while let chunk = controlChunks.first, output.byteCount + chunk.count <= end {
      output.write(chunk)
      controlChunks.removeFirst()
    }
    if isShutdownDue, state == .shutdownSent, output.byteCount + 8 <= end { writeShutdown(into: &output) }
    if isForwardTSNPending, state != .cookieEchoed { writeForwardTSN(into: &output, end: end, at: now) }
    let isDelayed = timers[.acknowledgement] != nil && (!sendQueue.isEmpty || retransmissions.lostCount > 0)
    guard isAcknowledgementDue || isDelayed, end - output.byteCount >= SackChunk.byteCountMin,
      state != .cookieEchoed
    else { return }
    advertisedWindow = freeWindow
    received.writeSack(
      window: UInt32(clamping: advertisedWindow), capacity: end - output.byteCount, into: &output)
    isAcknowledgementDue = false
    packetsSinceAcknowledgement = 0
    timers[.acknowledgement] = nil
  }

  /// Gives up messages that are cut in part and whose time is over: what is left of them is not sent.
  private mutating func giveUpExpired(at now: Instant) {
    guard capabilities.contains(.partialReliability) else { return }
    while let part = sendQueue.expiredPart(at: now) { retransmissions.giveUp(part, queue: &sendQueue) }
    noteForwardTSN(at: now)
  }

  private mutating func writeForwardTSN(into output: inout OutputRawSpan, end: Int, at now: Instant) {
    let limit = ForwardTSN.skippedCountMax(packetByteCount: configuration.packetByteCountMax)
    let chunk = retransmissions.forwardTSN(skippedCountMax: limit).array()
    guard output.byteCount + chunk.count <= end else { return }
    output.write(chunk)
    isForwardTSNPending = false
    forwardTSNSentAt = now
    if timers[.retransmission] == nil { timers[.retransmission] = now + timeout.timeout }
  }

  /// Lost chunks first, then new ones (§6.1 C), within the peer's window and the congestion window.
  private mutating func writeData(into output: inout OutputRawSpan, end: Int, at now: Instant) {
    let headerByteCount = DataChunk.headerByteCount(isInterleaved: retransmissions.isInterleaved)
    let (before, inFlightBefore) = (output.byteCount, retransmissions.inFlightByteCount)
    let number = packetNumber + 1
    let rate = congestion.pacingRate
    if let rate, !pacer.mayTransmit(at: now, rate: rate) { return waitForCredit(rate: rate, at: now) }
    while retransmissions.inFlightByteCount < congestion.window || recoveryCredit > 0,
      let (tsn, fragment) = retransmissions.nextLost(
        byteCountMax: end - output.byteCount, packetNumber: number, queue: &sendQueue, at: now)
    {
      statistics.chunksRetransmitted += 1
      recoveryCredit -= fragment.byteCount + headerByteCount
      write(fragment, tsn: tsn, into: &output)
    }
    if retransmissions.lostCount == 0 {
      while mayCut(room: end - output.byteCount),
        let fragment = sendQueue.nextFragment(room: end - output.byteCount - headerByteCount, at: now)
      {
        let tsn = retransmissions.append(fragment, packetNumber: number, at: now)
        write(fragment, tsn: tsn, into: &output)
      }
    }
    if retransmissions.lostCount == 0, output.byteCount + SCTPLimits.fragmentByteCountMin < end,
      retransmissions.inFlightByteCount < congestion.window
    {
      congestion.ranDry(inFlightByteCount: retransmissions.inFlightByteCount)
    }
    guard output.byteCount > before else { return }
    packetNumber = number
    congestion.sent(number, inFlightByteCount: inFlightBefore, at: now)
    pacer.transmitted(output.byteCount - before)
    // While the COOKIE ECHO is under way, its timer is that of the data beside it.
    guard state != .cookieEchoed else { return }
    if timers[.retransmission] == nil { timers[.retransmission] = now + timeout.timeout }
    setTailLossProbe(at: now)
  }

  /// What the window lets through has to wait for its turn.
  private mutating func waitForCredit(rate: Double, at now: Instant) {
    guard retransmissions.inFlightByteCount < congestion.window || recoveryCredit > 0,
      retransmissions.lostCount > 0 || !sendQueue.isEmpty
    else { return }
    timers[.pacing] = pacer.nextBurst(after: now, rate: rate)
  }

  /// §6.1 A and B: the peer's window, with one chunk to probe it when it is shut; then the congestion window.
  private func mayCut(room: Int) -> Bool {
    let inFlight = retransmissions.inFlightByteCount
    guard !sendQueue.isEmpty, retransmissions.count < SCTPLimits.chunksInFlightMax,
      inFlight < congestion.window
    else { return false }
    return inFlight == 0 || inFlight + room <= peerWindow
  }

  private func write(_ fragment: Fragment, tsn: Int64, into output: inout OutputRawSpan) {
    let chunk = DataChunk(
      flags: fragment.flags, tsn: UInt32(truncatingIfNeeded: tsn), stream: fragment.stream,
      messageID: fragment.messageID, fragment: fragment.number, payloadProtocol: fragment.payloadProtocol,
      isInterleaved: retransmissions.isInterleaved)
    let bytes = sendQueue.messages[fragment.message].bytes
    let range = fragment.offset..<(fragment.offset + fragment.byteCount)
    chunk.write(bytes.rawSpan.extracting(range), into: &output)
  }
}
