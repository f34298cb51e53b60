import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.trace.TraceBean;
import org.apache.rocketmq.client.trace.TraceContext;
import org.apache.rocketmq.client.trace.TraceDataEncoder;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;

/** {@code trace body}: what {@link TraceDataEncoder} decodes from the body (Base64) of a trace message, as a JSON list. */
final class Trace {
    static String run(String verb, Map<String, String> options) {
        String body = new String(Base64.getDecoder().decode(options.get("body")), StandardCharsets.UTF_8);
        List<Map<String, Object>> records = new ArrayList<>();
        for (TraceContext context : TraceDataEncoder.decoderFromTraceDataString(body)) {
            for (TraceBean bean : context.getTraceBeans()) {
                Map<String, Object> record = new LinkedHashMap<>();
                record.put("type", String.valueOf(context.getTraceType()));
                record.put("time_ms", context.getTimeStamp());
                record.put("region", context.getRegionId());
                record.put("group", context.getGroupName());
                record.put("cost_ms", context.getCostTime());
                record.put("success", context.isSuccess());
                record.put("topic", bean.getTopic());
                record.put("msg_id", bean.getMsgId());
                record.put("offset_msg_id", bean.getOffsetMsgId());
                record.put("tags", bean.getTags());
                record.put("keys", bean.getKeys());
                record.put("store_host", bean.getStoreHost());
                record.put("body_bytes", bean.getBodyLength());
                record.put("msg_type", String.valueOf(bean.getMsgType()));
                record.put("transaction_state", String.valueOf(bean.getTransactionState()));
                record.put("transaction_id", bean.getTransactionId());
                record.put("from_check", bean.isFromTransactionCheck());
                records.add(record);
            }
        }
        return RemotingSerializable.toJson(records, false);
    }
}
