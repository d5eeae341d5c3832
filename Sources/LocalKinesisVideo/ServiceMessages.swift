// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Both clocks that the service's rules need, read at one moment.
public struct ServiceTime: Hashable, Sendable {
  /// Monotonic time, for rates and deadlines.
  public var instant: Instant
  /// Wall-clock time in milliseconds since 1970, for signatures and creation times.
  public var unixMilliseconds: Int64

  /// Joins the two.
  public init(instant: Instant, unixMilliseconds: Int64) {
    self.instant = instant
    self.unixMilliseconds = unixMilliseconds
  }
}

/// An HTTP request as the stand-in's decisions need it, without a connection.
public struct ServiceRequest: Sendable {
  /// The method, upper case.
  public var method: String
  /// The request line's target as received: a path, and a query that may be a secret.
  public var target: Secret<String>
  /// The headers as received.
  public var headers: [(name: String, value: String)]
  /// The whole body.
  public var body: [UInt8]

  /// Joins the parts.
  public init(method: String, target: String, headers: [(name: String, value: String)], body: [UInt8] = []) {
    self.method = method
    self.target = Secret(target)
    self.headers = headers
    self.body = body
  }

  /// The target without its query.
  public var path: String { String(target.unredacted.prefix { $0 != "?" }) }

  /// The value of a header that must not come twice; `nil` when it is missing or repeated.
  func onlyHeader(_ name: String) -> String? {
    let values = headers.filter { $0.name.lowercased() == name }
    return values.count == 1 ? values[0].value : nil
  }

  /// The comma-separated elements of a header, lower case.
  func elements(ofHeader name: String) -> [String] {
    headers.filter { $0.name.lowercased() == name }
      .flatMap { $0.value.split(separator: ",") }
      .map { element in
        String(element.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()).lowercased()
      }
  }
}

extension ServiceRequest: CustomStringConvertible {
  /// Method and path; query, headers and body may hold secrets.
  public var description: String { "\(method) \(path)" }
}

/// An HTTP answer, without a connection.
public struct ServiceResponse: Sendable {
  /// The status.
  public var status: Int
  /// The headers but `Content-Length` and those of the connection.
  public var headers: [(name: String, value: String)]
  /// The whole body.
  public var body: [UInt8]
  /// The error type that the answer carries, for logs; `nil` for a success.
  public var errorType: String?

  /// Joins the parts.
  public init(
    status: Int, headers: [(name: String, value: String)] = [], body: [UInt8] = [], errorType: String? = nil
  ) {
    self.status = status
    self.headers = headers
    self.body = body
    self.errorType = errorType
  }

  /// The first value of a header.
  public func header(_ name: String) -> String? {
    headers.first { $0.name.lowercased() == name.lowercased() }?.value
  }
}
