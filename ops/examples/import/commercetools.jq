# commercetools, GET /orders/ID: amounts are in minor units already, whatever the currency has of them.
def money: { amount: .centAmount, currency: .currencyCode };
(.taxedPrice.totalGross // .totalPrice) as $total
| { order_id: "ct-\(.orderNumber)", customer: "ct-\(.customerId)", payment_method: $payment_method,
  ship_to: { country: .shippingAddress.country, postcode: .shippingAddress.postalCode },
  lines: [.lineItems[] | { sku: .variant.sku, quantity, unit_price: (.price.value | money) }],
  charges: ([{ kind: "shipping", amount: (.shippingInfo.price | money) }, { kind: "tax", amount:
      { amount: ($total.centAmount - .totalPrice.centAmount), currency: $total.currencyCode } }]
    + [.discountOnTotalPrice // empty | { kind: "discount", amount: (.discountedAmount | money) }]),
  total: ($total | money) }
