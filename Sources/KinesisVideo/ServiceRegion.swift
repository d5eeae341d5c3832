// SPDX-License-Identifier: Apache-2.0

/// A region and the host names of its partition.
public struct ServiceRegion: Hashable, Sendable {
  /// The region's name, such as `eu-west-1`.
  public var name: String

  /// Takes a name of 1 to 32 characters `a-z 0-9 -`; `nil` for anything else, for it becomes part of a host name.
  public init?(_ name: String) {
    let isName = name.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
        true
      default: false
      }
    }
    guard isName, (1...32).contains(name.utf8.count) else { return nil }
    self.name = name
  }

  /// What the partition's host names end in.
  public var domainSuffix: String {
    if name.hasPrefix("cn-") { return "amazonaws.com.cn" }
    if name.hasPrefix("us-isob-") { return "sc2s.sgov.gov" }
    if name.hasPrefix("us-iso-") { return "c2s.ic.gov" }
    return "amazonaws.com"
  }

  /// Where channels are described and created. The service has only its FIPS name in us-gov-west-1.
  public var controlEndpoint: ServiceURL {
    let service = name == "us-gov-west-1" ? "kinesisvideo-fips" : "kinesisvideo"
    return ServiceURL(scheme: "https", host: "\(service).\(name).\(domainSuffix)")
  }

  /// The region's STUN server, which the service's list of servers leaves out.
  public var stunServer: ICEServer {
    ICEServer(urls: ["stun:stun.kinesisvideo.\(name).\(domainSuffix):443"])
  }
}
