// SPDX-License-Identifier: Apache-2.0

/// Why the stand-in cannot start, each as one sentence that names the setting to change.
public enum LocalServerError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Another program listens on the port.
  case portInUse(host: String, port: Int)
  /// The process may not listen on the port.
  case portNotPermitted(port: Int)
  /// The port is no port number.
  case invalidPort(Int)
  /// The host is no address of this machine.
  case hostNotAvailable(host: String)
  /// The stored channels cannot be read, or the folder cannot be made.
  case unreadableData(path: String)
  /// `start` was called twice.
  case alreadyStarted
  /// Another program has a port of the TURN server.
  case relayPortInUse(host: String, port: Int, flag: String)
  /// The process may not listen on a port of the TURN server.
  case relayPortNotPermitted(port: Int, flag: String)
  /// The TURN server cannot be started.
  case cannotRelay(reason: String)
  /// The certificate authority cannot be made or stored.
  case cannotCertify(reason: String)
  /// Anything else that the system says.
  case cannotListen(host: String, port: Int, reason: String)

  /// One sentence for a person.
  public var description: String {
    switch self {
    case .portInUse(let host, let port):
      "Port \(port) on \(host) is in use by another program; choose another one with --port, or 0 for any free one."
    case .portNotPermitted(let port):
      "This user may not listen on port \(port); choose one above 1023 with --port."
    case .invalidPort(let port): "\(port) is not a port; --port takes a number from 0 to 65535."
    case .hostNotAvailable(let host):
      "\(host) is not an address of this machine; --host takes one of its addresses, such as 127.0.0.1 or 0.0.0.0."
    case .unreadableData(let path):
      "The file \(path) cannot be read; check the folder that --data-dir names, or remove the file."
    case .alreadyStarted: "The local service was started before."
    case .relayPortInUse(let host, let port, let flag):
      "Port \(port) on \(host) is in use by another program; choose another one with \(flag), 0 for any free one, or have no relay with --no-turn."
    case .relayPortNotPermitted(let port, let flag):
      "This user may not listen on port \(port); choose one above 1023 with \(flag)."
    case .cannotRelay(let reason):
      "The TURN server cannot be started (\(reason)); check --host and --turn-port, or have none with --no-turn."
    case .cannotCertify(let reason):
      "A certificate for TLS cannot be made (\(reason)); check the folder that --data-dir names."
    case .cannotListen(let host, let port, let reason):
      "Listening on \(host), port \(port), failed (\(reason)); check --host and --port."
    }
  }
}
