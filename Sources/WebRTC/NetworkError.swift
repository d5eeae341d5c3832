// SPDX-License-Identifier: Apache-2.0

/// Why a network loop could not be opened, or takes no further connection.
public enum NetworkError: Error, Hashable, Sendable {
  /// No interface has an address that may be used.
  case noUsableAddress
  /// The operating system refused a socket operation on an address; `code` is its errno.
  case socket(operation: String, address: String, code: Int32)
  /// All UDP ports that may be used are taken on this address.
  case noFreePort(address: String, ports: ClosedRange<UInt16>)
  /// The network loop was shut down.
  case shutDown
  /// The loop carries as many connections as it was configured for.
  case tooManyConnections(limit: Int)
  /// No certificate could be made; OpenSSL's reason.
  case certificate(String)
}

extension NetworkError: CustomStringConvertible {
  /// One sentence for a log or a user.
  public var description: String {
    switch self {
    case .noUsableAddress: "no network interface has an address that can be used"
    case .socket(let operation, let address, let code):
      "the operating system refused \(operation) on \(address) (errno \(code))"
    case .noFreePort(let address, let ports):
      ports.count == 1
        ? "UDP port \(ports.lowerBound) is taken on \(address)"
        : "all UDP ports from \(ports.lowerBound) to \(ports.upperBound) are taken on \(address)"
    case .shutDown: "the network loop is shut down"
    case .tooManyConnections(let limit): "the network loop carries its limit of \(limit) connections"
    case .certificate(let reason): "no DTLS certificate could be made: \(reason)"
    }
  }
}
