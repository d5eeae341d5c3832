// swift-tools-version: 6.3
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

let package = Package(
  name: "Benchmarks",
  dependencies: [
    .package(name: "swift-kvs-webrtc", path: ".."),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
  ],
  targets: [
    .executableTarget(
      name: "ConnectionBenchmark",
      dependencies: [
        .product(name: "WebRTC", package: "swift-kvs-webrtc"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ],
      swiftSettings: [.treatAllWarnings(as: .error)]),
    .executableTarget(
      name: "DataChannelBenchmark",
      dependencies: [.product(name: "WebRTC", package: "swift-kvs-webrtc")],
      swiftSettings: [.treatAllWarnings(as: .error)]),
  ]
)
