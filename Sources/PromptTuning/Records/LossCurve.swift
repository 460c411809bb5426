import Foundation

/// The losses of a run as a picture: an SVG file, or a line of block characters for a terminal.
public enum LossCurve {
    /// Step losses in grey, their running mean and the dev evaluations on top.
    public static func svg(losses: [Float], evaluations: [DevEvaluation], title: String) -> String {
        let width = 720.0, height = 360.0, left = 56.0, top = 34.0, right = 16.0, bottom = 40.0
        let finite = losses.map { Double($0) }.filter(\.isFinite)
        let dev = evaluations.filter { $0.score.loss.isFinite }
        let high = max(finite.max() ?? 1, dev.map(\.score.loss).max() ?? 0, 1e-6)
        let steps = Double(max(losses.count, 1))
        func x(_ step: Double) -> String { String(format: "%.1f", left + (width - left - right) * step / steps) }
        func y(_ loss: Double) -> String {
            String(format: "%.1f", top + (height - top - bottom) * (1 - min(max(loss / high, 0), 1)))
        }
        func line(_ points: [(Double, Double)], _ style: String) -> String {
            "<polyline fill=\"none\" \(style) points=\""
                + points.map { "\(x($0.0)),\(y($0.1))" }.joined(separator: " ") + "\"/>"
        }
        var mean = finite.first ?? 0
        let smooth = losses.enumerated().compactMap { index, loss -> (Double, Double)? in
            guard loss.isFinite else { return nil }
            mean = mean * 0.95 + Double(loss) * 0.05
            return (Double(index + 1), mean)
        }
        var parts = [
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(Int(width)) \(Int(height))\" font-family=\"sans-serif\" font-size=\"12\">",
            "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
            "<text x=\"\(Int(left))\" y=\"20\" font-size=\"14\">\(MarkupText.escaped(title))</text>",
        ]
        for tick in 0...4 {
            let loss = high * Double(tick) / 4
            parts.append(
                "<line x1=\"\(x(0))\" x2=\"\(x(steps))\" y1=\"\(y(loss))\" y2=\"\(y(loss))\" stroke=\"#ddd\"/>"
                    + "<text x=\"\(Int(left) - 6)\" y=\"\(y(loss))\" text-anchor=\"end\" dominant-baseline=\"middle\">"
                    + String(format: "%.2f", loss) + "</text>")
            let step = (steps * Double(tick) / 4).rounded()
            parts.append(
                "<text x=\"\(x(step))\" y=\"\(Int(height) - 20)\" text-anchor=\"middle\">\(Int(step))</text>")
        }
        parts.append("<text x=\"\(Int(width / 2))\" y=\"\(Int(height) - 4)\" text-anchor=\"middle\">step</text>")
        parts.append(
            line(
                losses.enumerated().compactMap {
                    $0.element.isFinite ? (Double($0.offset + 1), Double($0.element)) : nil
                },
                "stroke=\"#bbb\" stroke-width=\"1\""))
        parts.append(line(smooth, "stroke=\"#1f5fa8\" stroke-width=\"2\""))
        if !dev.isEmpty {
            parts.append(
                line(dev.map { (Double($0.step), $0.score.loss) }, "stroke=\"#c2410c\" stroke-width=\"2\""))
        }
        parts.append(
            "<text x=\"\(Int(width - right))\" y=\"20\" text-anchor=\"end\"><tspan fill=\"#1f5fa8\">training</tspan>"
                + (dev.isEmpty ? "" : " <tspan fill=\"#c2410c\">dev</tspan>") + "</text></svg>")
        return parts.joined(separator: "\n") + "\n"
    }

    /// The curve in `width` characters, each the mean of its share of the steps.
    public static func line(losses: [Float], width: Int = 60) -> String {
        let finite = losses.filter(\.isFinite)
        guard let high = finite.max(), high > 0, width > 0 else { return "" }
        let blocks = Array("▁▂▃▄▅▆▇█")
        let count = min(width, finite.count)
        return String(
            (0..<count).map { cell in
                let part = finite[cell * finite.count / count..<(cell + 1) * finite.count / count]
                let mean = part.reduce(0, +) / Float(max(part.count, 1))
                return blocks[min(blocks.count - 1, max(0, Int(mean / high * Float(blocks.count))))]
            })
    }
}

/// Text inside SVG and HTML.
public enum MarkupText {
    public static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            // Control characters have no place in XML.
            case _ where scalar.value < 0x20 && !"\n\t".unicodeScalars.contains(scalar): result += "\u{FFFD}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
