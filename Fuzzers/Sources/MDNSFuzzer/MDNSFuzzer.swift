// SPDX-License-Identifier: Apache-2.0

import FuzzInput
import ICE
import SansIO

/// Multicast DNS: anybody on the link may send anything.
///
/// The first byte says whether the rest is one message, or a conversation of questions and answers in which the
/// resolver must believe only answers to what was asked.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  var input = FuzzInput(start, count)
  if input.byte() & 1 == 0 { parse(input.rest()) } else { converse(&input) }
  return 0
}

private func parse(_ bytes: [UInt8]) {
  guard let message = try? DNSMessage(parsing: bytes.rawSpan) else { return }
  let written = [UInt8](writing: message.byteCount) { output in message.write(into: &output) }
  precondition(written.count == message.byteCount, "a message has another length than it said")
  guard let again = try? DNSMessage(parsing: written.rawSpan) else {
    preconditionFailure("a message of ours cannot be read")
  }
  precondition(again == message, "a message changes when it is written and read")
}

private func converse(_ input: inout FuzzInput) {
  var resolver = MDNSResolver()
  var now = Instant.zero
  var asked: Set<String> = []
  var steps = 0
  while !input.isAtEnd, steps < 200 {
    steps += 1
    switch input.choice(of: 4) {
    case 0:
      let name = "host\(input.byte() % 4).local"
      asked.insert(name)
      resolver.resolve(name, for: Int(input.byte() % 3), at: now)
    case 1: answer(&input, to: &resolver, at: now)
    case 2: now += .milliseconds(Int64(input.short()))
    default: resolver.receive(input.block().rawSpan, from: fuzzAddress(7, port: MDNSResolver.port), at: now)
    }
    resolver.handleTimeout(at: now)
    var hasMore = true
    while hasMore {
      _ = [UInt8](writing: DNSMessage.byteCountMax) { output in hasMore = resolver.pollQuery(into: &output) }
    }
    while let answer = resolver.pollAnswer() {
      precondition(asked.contains(answer.name), "an answer to no question")
      precondition(answer.addresses.count <= 4, "more addresses than are kept")
    }
  }
}

/// A well-formed answer to what may or may not have been asked.
private func answer(_ input: inout FuzzInput, to resolver: inout MDNSResolver, at now: Instant) {
  guard let name = DNSName("host\(input.byte() % 6).local") else { return }
  let address = fuzzAddress(input.byte(), isIPv6: input.byte() & 1 == 0).ip
  let record = DNSAddressRecord(name: name, address: address, timeToLiveSeconds: UInt32(input.short()))
  let message = DNSMessage(isResponse: true, records: [record])
  let bytes = [UInt8](writing: message.byteCount) { output in message.write(into: &output) }
  let isSpoilt = input.byte() & 1 == 0
  resolver.receive(
    (isSpoilt ? input.spoil(bytes) : bytes).rawSpan, from: fuzzAddress(7, port: MDNSResolver.port), at: now)
}
