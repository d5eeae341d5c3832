// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// A name in remote candidates, which a browser gives instead of an address of its own network.
struct RemoteName: Sendable {
  /// In lower case.
  let name: String
  /// What it stands for; `nil` while that is being asked, empty where there is no answer.
  var addresses: [IPAddress]?
  /// The candidates that wait for the answer.
  var candidates: [ICECandidate] = []
}

/// Remote candidates with mDNS names (draft-ietf-mmusic-mdns-ice-candidates §3.2).
///
/// The agent has each name resolved once and goes on meanwhile. What comes back is trusted no further than an
/// address in a candidate: it passes the same tests, and only an authenticated answer makes it a path.
extension ICEAgent {
  mutating func addNamedCandidate(_ candidate: ICECandidate, name: String, at now: Instant) {
    let name = name.lowercased()
    // Under the policy `relay` the name would lead to addresses that no relay reaches.
    guard configuration.transportPolicy == .all, Self.isMulticastName(name) else {
      drops[.candidateName] += 1
      return
    }
    if let index = remoteNames.firstIndex(where: { $0.name == name }) {
      if let addresses = remoteNames[index].addresses {
        add(candidate, at: addresses, now)
      } else if remoteNames[index].candidates.count < ICELimits.candidatesPerNameMax {
        remoteNames[index].candidates.append(candidate)
      } else {
        drops[.candidateName] += 1
      }
      return
    }
    guard remoteNames.count < ICELimits.remoteNamesMax else {
      drops[.candidateName] += 1
      return
    }
    remoteNames.append(RemoteName(name: name, candidates: [candidate]))
    emit(.nameNeedsResolving(name))
  }

  /// Whether a name is one label and `.local`: what a multicast question may be about (RFC 6762 §3).
  private static func isMulticastName(_ name: String) -> Bool {
    guard name.hasSuffix(".local") else { return false }
    let label = name.utf8.dropLast(".local".utf8.count)
    return (1...ICELimits.labelByteCountMax).contains(label.count)
      && label.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
          UInt8(ascii: "-"), UInt8(ascii: "_"):
          true
        default: false
        }
      }
  }

  /// Takes the addresses that a name stands for; none if it could not be resolved. Names that were not asked
  /// for, and second answers, change nothing.
  public mutating func resolved(name: String, to addresses: [IPAddress], at now: Instant) {
    let name = name.lowercased()
    guard isActive,
      let index = remoteNames.firstIndex(where: { $0.name == name && $0.addresses == nil })
    else { return }
    let addresses = Array(addresses.prefix(ICELimits.addressesPerNameMax))
    let candidates = remoteNames[index].candidates
    remoteNames[index].addresses = addresses
    remoteNames[index].candidates = []
    for candidate in candidates { add(candidate, at: addresses, now) }
  }

  private mutating func add(_ candidate: ICECandidate, at addresses: [IPAddress], _ now: Instant) {
    if addresses.isEmpty { drops[.candidateName] += 1 }
    for address in addresses {
      var candidate = candidate
      candidate.host = .ip(address)
      addRemoteCandidateWithAddress(candidate, at: now)
    }
  }
}
