// SPDX-License-Identifier: Apache-2.0

import FuzzInput
import ICE
import SansIO

/// Parsers that see a stranger's bytes first: STUN messages, ChannelData, frames of a stream, candidate
/// lines, servers' URLs.
///
/// The first byte says which. Beyond "does not crash" it checks that what was accepted means the same when it is
/// written and read again.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  var input = FuzzInput(start, count)
  switch input.choice(of: 5) {
  case 0: parseMessage(input.rest())
  case 1: parseStream(&input)
  case 2: parseCandidate(input.rest())
  case 3: parseURL(input.rest())
  default: parseChannelData(input.rest())
  }
  return 0
}

private let key = STUNIntegrityKey(password: Secret("VOkJxbRl1RmTxUk/WvJxBt"))

private func parseMessage(_ bytes: [UInt8]) {
  let datagram = bytes.rawSpan
  _ = STUNPeek.localUsernameFragment(ofRequest: datagram)
  let peeked = STUNPeek.kind(of: datagram)
  guard STUNPeek.isSTUN(datagram), let message = try? STUNMessage(parsing: datagram) else { return }
  precondition(peeked?.transactionPrefix == message.transactionID.prefix, "peeking and parsing disagree")
  _ = message.isAuthentic(with: key)
  _ = message.username?.byteCount
  _ = message.priority
  _ = message.usesCandidate
  _ = message.controllingTieBreaker
  _ = message.controlledTieBreaker
  _ = message.xorMappedAddress
  _ = message.xorPeerAddress
  _ = message.xorRelayedAddress
  _ = message.errorCode
  _ = message.channelNumber
  _ = message.lifetimeSeconds
  _ = message.requestedTransport
  _ = message.requestedAddressFamily
  _ = message.realm
  _ = message.nonce
  let unknown = message.unknownRequiredAttributes(known: [], limit: 8)
  precondition(unknown.count <= 8, "more unknown attributes than asked for")
}

private func parseStream(_ input: inout FuzzInput) {
  var framer = STUNStreamFramer()
  while !input.isAtEnd {
    let bytes = input.take(1 + Int(input.byte()))
    do throws(ParseError) {
      try framer.append(bytes.rawSpan)
      while let frame = try framer.next() { precondition(frame.byteCount >= 4, "a frame without a header") }
    } catch {
      return
    }
  }
}

private func parseCandidate(_ bytes: [UInt8]) {
  let line = String(decoding: bytes, as: UTF8.self)
  guard let candidate = try? ICECandidate(parsing: line) else { return }
  guard let again = try? ICECandidate(parsing: candidate.attributeValue) else {
    // Only what is longer in our words than in the peer's may be refused.
    precondition(candidate.attributeValue.utf8.count > 1000, "a candidate of ours cannot be read")
    return
  }
  precondition(again == candidate, "a candidate changes when it is written and read")
}

private func parseChannelData(_ bytes: [UInt8]) {
  guard let message = try? ChannelData(parsing: bytes.rawSpan) else { return }
  precondition(ChannelData.isChannelData(bytes.rawSpan), "the first byte of ChannelData")
  precondition(message.payload.byteCount + ChannelData.headerByteCount <= bytes.count, "more than there is")
}

private func parseURL(_ bytes: [UInt8]) {
  guard let url = try? ICEServerURL(parsing: String(decoding: bytes, as: UTF8.self)) else { return }
  precondition(!url.host.isEmpty && url.port != 0, "a URL that leads nowhere")
}
